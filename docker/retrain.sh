#!/usr/bin/env bash
# Trains the next version on the host's shelf and begins an experiment with it as challenger. What a nightly job calls.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SHARE=0.1
MIN_ACCURACY=0.90
TRAIN=()

usage() {
  cat <<'TEXT'
Usage: docker/retrain.sh [options] [-- arguments of `train`]

Trains the next free version on the shelf of the stack on this host, makes the service take it in (which begins an
experiment in which it answers in shadow), and gives it a share of the traffic; the baseline gets the rest. Prints as
JSON what is in force then. A model below the gate is not published, and nothing changes.

  --share SHARE         the new version's share of the traffic, 0 to 1 (0.1); 0 leaves it in shadow
  --min-accuracy SHARE  the gate (0.90)
  --help                show this text

Without --seed among the arguments of `train` the day is the seed: the same day and data give the same model.
On another host: docker/on_host.sh HOST retrain.sh
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --share | --min-accuracy)
        [ $# -ge 2 ] || bad_usage "$1 needs a value"
        if [ "$1" = --share ]; then SHARE="$2"; else MIN_ACCURACY="$2"; fi
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
      *) bad_usage "unknown: $1" ;;
    esac
    shift
  done
  [[ "$SHARE" =~ ^(0(\.[0-9]+)?|1(\.0+)?)$ ]] || bad_usage "--share: '$SHARE' is not a share from 0 to 1"
  [[ "$MIN_ACCURACY" =~ ^[0-9]*\.?[0-9]+$ ]] || bad_usage "--min-accuracy: '$MIN_ACCURACY' is not a number"
}

train() {
  local seed=()
  [[ " ${TRAIN[*]-} " = *" --seed"* ]] || seed=(--seed "$(date -u +%Y%m%d)")
  compose run --rm --no-deps -T api python -m app train --json --min-accuracy "$MIN_ACCURACY" \
    ${seed[@]+"${seed[@]}"} ${TRAIN[@]+"${TRAIN[@]}"} </dev/null ||
    fail "no new version was published; see above. Nothing has changed."
}

# The names of what `train` says that it published.
names() {
  compose exec -T api python -I -c '
import json, sys
print(*(version["version"] for version in json.load(sys.stdin)["versions"]))'
}

main() {
  local trained versions
  parse_arguments "$@"
  require_docker
  trained="$(train)"
  read -r -a versions <<<"$(names <<<"$trained")"
  say "Trained: ${versions[*]}" >&2
  compose exec -T api python -I - begin "$SHARE" "${versions[@]}" <"$PROJECT_ROOT/docker/steer.py" ||
    fail "${versions[*]} is on the shelf, but was not taken into service; see above."
}

main "$@"
