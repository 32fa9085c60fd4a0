#!/usr/bin/env bash
# Trains and publishes the next version and starts an experiment with it as challenger. Called by the nightly job.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SHARE=0.1
MIN_ACCURACY=0.90
ALPHA=0.01
MARGIN=0.01
KEEP=none
TRAIN=()

usage() {
  cat <<'TEXT'
Usage: docker/retrain.sh [OPTION]... [-- TRAIN-ARGUMENT...]

Trains a new version for the stack on this host, publishes it to the model registry, loads it (which starts an
experiment with it in shadow), and gives it a share of the traffic; the baseline gets the rest. Prints the active
configuration as JSON. A model below the quality gate is not published, and nothing changes.

  --share SHARE         the new version's share of the traffic, 0 to 1 (0.1); 0 leaves it in shadow
  --min-accuracy SHARE  the quality gate: the lowest accuracy to publish (0.90)
  --alpha SHARE         the experiment's error rate (0.01): each night is another chance of error
  --margin NUMBER       its equivalence margin, in units of the metric (0.01), or none: versions that differ by less are
                        equivalent, which ends the comparison
  --keep N              then retire all but the newest N versions and those in use, or none (none): each loaded version
                        answers every request in shadow
  --help                show this text

TRAIN-ARGUMENTs are passed to `bakeoff train`. Without --seed the current date is the seed: the same day and data give
the same model.
On another host: docker/on_host.sh HOST retrain.sh
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --share | --min-accuracy | --alpha | --margin | --keep)
        [ $# -ge 2 ] || bad_usage "$1 needs a value"
        case "$1" in
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
  [[ "$SHARE" =~ ^(0(\.[0-9]+)?|1(\.0+)?)$ ]] || bad_usage "--share: '$SHARE' is not a share from 0 to 1"
  [[ "$MIN_ACCURACY" =~ ^[0-9]*\.?[0-9]+$ ]] || bad_usage "--min-accuracy: '$MIN_ACCURACY' is not a number"
  [[ "$ALPHA" =~ ^0?\.[0-9]+$ ]] || bad_usage "--alpha: '$ALPHA' is not a share below 1"
  [[ "$KEEP" =~ ^([1-9][0-9]*|none)$ ]] || bad_usage "--keep: '$KEEP' is neither a number of versions nor none"
  [[ "$MARGIN" =~ ^([0-9]*\.?[0-9]+|none)$ ]] || bad_usage "--margin: '$MARGIN' is neither a number nor none"
}

train() {
  local seed=()
  [[ " ${TRAIN[*]-} " = *" --seed"* ]] || seed=(--seed "$(date -u +%Y%m%d)")
  compose run --rm --no-deps -T api python -m app train --json --min-accuracy "$MIN_ACCURACY" \
    ${seed[@]+"${seed[@]}"} ${TRAIN[@]+"${TRAIN[@]}"} </dev/null ||
    fail "no new version was published; see above. Nothing has changed."
}

# Reads the names of the published versions from the output of `train --json`.
names() {
  compose exec -T api python -I -c '
import json, sys
print(*(version["version"] for version in json.load(sys.stdin)["versions"]))'
}

# Before the new versions are loaded: one reload then drops the old ones too.
retire() {
  [ "$KEEP" = none ] && return
  compose run --rm --no-deps -T api python -m app retire --keep "$KEEP" --actor pipeline --note "retraining" \
    </dev/null >&2 || fail "the new version is published, but older ones could not be retired; see above."
}

main() {
  local trained versions terms
  parse_arguments "$@"
  require_docker
  trained="$(train)"
  read -r -a versions <<<"$(names <<<"$trained")"
  say "Trained: ${versions[*]}" >&2
  retire
  terms=("alpha=$ALPHA")
  [ "$MARGIN" = none ] || terms+=("equivalence_margin=$MARGIN")
  compose exec -T api python -I - begin "$SHARE" "${versions[@]}" "${terms[@]}" <"$PROJECT_ROOT/docker/steer.py" ||
    fail "${versions[*]} is published, but loading it or setting its share failed; see above."
}

main "$@"
