#!/usr/bin/env bash
# Trains a version that waits as a candidate, and lets it in once the running experiment has ended. The nightly job calls
# it.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DATASET=""
ENTER=no
SHARE=0.1
MIN_ACCURACY=0.90
ALPHA=0.01
MARGIN=0.01
KEEP=none
TRAIN=()

usage() {
  cat <<'TEXT'
Usage: docker/retrain.sh [--dataset NAME|FILE|log] [OPTION]... [-- TRAIN-ARGUMENT...]

Trains a new version for the stack on this host and publishes it as a candidate: it is not loaded, gets no traffic, and
the running experiment goes on. Where that experiment has ended, the candidate is let in: loaded, which starts the next
experiment, with a share of the traffic. At most one candidate waits; an older one is retired. A model below the quality
gate is not published, nor one that the registry has already. Prints what was done as JSON.

  --dataset NAME|FILE|log
                        what to train on: a data set or a file as the api's container sees it, or the labelled
                        predictions of the log; without it nothing is trained, and a candidate that waits is still let
                        in where the experiment has ended
  --enter               let the candidate in now: it ends the running experiment
  --share SHARE         the new version's share of the traffic, 0 to 1 (0.1); 0 leaves it in shadow
  --min-accuracy SHARE  the quality gate: the lowest accuracy to publish (0.90), or none, for a regression; --min-r2 or
                        --min-accuracy among the TRAIN-ARGUMENTs takes its place
  --alpha SHARE         the experiment's error rate (0.01): each candidate is another chance of error
  --margin NUMBER       its equivalence margin, in units of the metric (0.01), or none: versions that differ by less are
                        equivalent, which ends the comparison
  --keep N              when one is let in, retire all but the newest N versions and those in use, or none (none): each
                        loaded version answers every request in shadow
  --help                show this text

The experiment has ended if nothing is compared, if each comparison is settled (worse or equivalent), or if it began by
a decision on the one before and all traffic still goes to one version. A winner waits for its promotion.

TRAIN-ARGUMENTs are passed to `bakeoff train`, such as --target COLUMN. The seed is the same each time, unless --seed
says another: the same data give the same model, which is not published again.
On another host: docker/on_host.sh HOST retrain.sh
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --enter) ENTER=yes ;;
      --dataset | --share | --min-accuracy | --alpha | --margin | --keep)
        [ $# -ge 2 ] || bad_usage "$1 needs a value"
        case "$1" in
          --dataset) DATASET="$2" ;;
          --share) SHARE="$2" ;;
          --min-accuracy) MIN_ACCURACY="$2" ;;
          --alpha) ALPHA="$2" ;;
          --margin) MARGIN="$2" ;;
          --keep) KEEP="$2" ;;
        esac
        shift
        ;;
      --help | -h)
        usage
        exit 0
        ;;
      --)
        shift
        TRAIN=("$@")
        break
        ;;
      *) bad_usage "unknown argument: $1 (arguments of train follow --)" ;;
    esac
    shift
  done
  [[ "$DATASET" =~ ^[^-[:cntrl:]][^[:cntrl:]]*$|^$ ]] || bad_usage "--dataset: '$DATASET' is neither a name nor a file"
  [[ " ${TRAIN[*]-}" != *" --dataset"* ]] || bad_usage "--dataset belongs before the --"
  [[ "$SHARE" =~ ^(0(\.[0-9]+)?|1(\.0+)?)$ ]] || bad_usage "--share: '$SHARE' is not a share from 0 to 1"
  [[ "$MIN_ACCURACY" =~ ^([0-9]*\.?[0-9]+|none)$ ]] ||
    bad_usage "--min-accuracy: '$MIN_ACCURACY' is neither a number nor none"
  [[ "$ALPHA" =~ ^0?\.[0-9]+$ ]] || bad_usage "--alpha: '$ALPHA' is not a share below 1"
  [[ "$KEEP" =~ ^([1-9][0-9]*|none)$ ]] || bad_usage "--keep: '$KEEP' is neither a number of versions nor none"
  [[ "$MARGIN" =~ ^([0-9]*\.?[0-9]+|none)$ ]] || bad_usage "--margin: '$MARGIN' is neither a number nor none"
}

# Prints the outcome of `bakeoff train --candidate` as JSON.
train() {
  local data=(--dataset "$DATASET")
  [ "$DATASET" != log ] || data=(--from-log)
  # A gate among train's own arguments, such as --min-r2, takes its place: train takes that of its task alone.
  [ "$MIN_ACCURACY" = none ] || [[ " ${TRAIN[*]-}" == *" --min-"* ]] || data+=(--min-accuracy "$MIN_ACCURACY")
  compose run --rm --no-deps -T api python -m app train --candidate --json "${data[@]}" \
    ${TRAIN[@]+"${TRAIN[@]}"} </dev/null || fail "no new version was published; see above. Nothing has changed."
}

# read_json EXPRESSION: the value of a Python expression over `given`, the JSON document on standard input.
read_json() {
  compose exec -T api python -I -c "import json, sys; given = json.load(sys.stdin); print($1)"
}

steer() { compose exec -T api python -I - "$@" <"$PROJECT_ROOT/docker/steer.py"; }

# Prints the name of the candidate that waits, if one does.
waiting() {
  compose run --rm --no-deps -T api python -m app models --json </dev/null |
    read_json '*(each["version"] for each in given["versions"] if each["candidate"])'
}

# Before the candidate is loaded: one reload then drops the old ones too.
retire() {
  [ "$KEEP" = none ] && return
  compose run --rm --no-deps -T api python -m app retire --keep "$KEEP" --actor pipeline --note "retraining" \
    </dev/null >&2 || fail "older versions could not be retired; see above. $1 was not let in."
}

# let_in CANDIDATE: prints the active configuration.
let_in() {
  local terms=("alpha=$ALPHA")
  [ "$MARGIN" = none ] || terms+=("equivalence_margin=$MARGIN")
  retire "$1"
  compose run --rm --no-deps -T api python -m app retire --undo "$1" --actor pipeline --note "the candidate is let in" \
    </dev/null >&2 || fail "$1 could not be let in; see above. It waits on."
  steer begin "$SHARE" "$1" "${terms[@]}" ||
    fail "$1 is no candidate any more, but loading it or setting its share failed; see above."
}

# report KEY VALUE...: prints what was done as one JSON object, without what is empty.
report() {
  compose exec -T api python -I -c '
import json, sys
pairs = zip(sys.argv[1::2], sys.argv[2::2])
print(json.dumps({key: json.loads(text) if text[:1] == "{" else text for key, text in pairs if text}))' "$@"
}

main() {
  local trained="" versions="" unchanged="" left_out="" candidate running configuration=""
  parse_arguments "$@"
  require_docker
  if [ -z "$DATASET" ]; then
    left_out="training, because no data set is named (--dataset)"
    say "Left out: $left_out." >&2
  else
    trained="$(train)"
    versions="$(read_json '*(each["version"] for each in given["versions"])' <<<"$trained")"
    unchanged="$(read_json 'given.get("unchanged", "")' <<<"$trained")"
    if [ -n "$unchanged" ]; then
      say "Trained: the same model as $unchanged, so it was not published again." >&2
    else
      say "Trained: $versions, which waits as a candidate." >&2
    fi
  fi
  candidate="$(waiting)"
  running="$(steer running)"
  if [ -z "$candidate" ]; then
    say "No candidate waits." >&2
  elif [ -n "$running" ] && [ "$ENTER" = no ]; then
    say "$candidate waits: $running. --enter lets it in all the same." >&2
  else
    configuration="$(let_in "$candidate")"
    say "$candidate was let in." >&2
  fi
  report left_out "$left_out" trained "$versions" unchanged "$unchanged" candidate "$candidate" \
    waits_for "$([ -z "$candidate" ] || [ -n "$configuration" ] || say "$running")" configuration "$configuration"
}

main "$@"
