#!/usr/bin/env bash
# Asks a running api what it must answer and what it must refuse. The answers come from the stack's signed shelf.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TARGET=""
OPTIONS=()

usage() {
  cat <<'TEXT'
Usage: docker/smoke.sh URL|CONTAINER [--json]

Checks health, each version against its known answers, batches, refusals, metrics and the OpenAPI document. Forced and
marked as synthetic: nothing of it counts in the experiment. One line a check; exit status 1 where one fails.

  URL        as this host reaches it, such as http://127.0.0.1:5000
  CONTAINER  a container of the stack, by its name
  --json     the checks as JSON
  --help     show this text

The known answers are computed by bakeoff-api:$BAKEOFF_TAG from the shelf of the project COMPOSE_PROJECT_NAME.
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --json) OPTIONS+=("$1") ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*) bad_usage "unknown option: $1" ;;
      *) TARGET="$1" ;;
    esac
    shift
  done
  [ -n "$TARGET" ] || bad_usage "say what to ask: a URL, or a container"
}

# From inside the stack.
smoke_container() {
  compose run --rm --no-deps -T api python -m app smoke "http://$1:5000" ${OPTIONS[@]+"${OPTIONS[@]}"} </dev/null
}

# As this host sees it: the known answers go from the shelf to a container on the host's own network.
smoke_url() {
  local answers image container
  container="$(containers_of api | head -n 1)"
  [ -n "$container" ] || fail "no api of the project $COMPOSE_PROJECT_NAME is here, so no shelf with known answers."
  image="$(docker inspect -f '{{ .Config.Image }}' "$container")"
  answers="$(compose run --rm --no-deps -T api python -m app smoke --print-answers </dev/null)" || fail "no known answers; see above."
  docker run --rm -i --network host -e API_TOKEN -e DATA_DIR=/tmp -e MODEL_DIR=/tmp --read-only --cap-drop ALL "$image" \
    python -m app smoke "$1" --answers /dev/stdin ${OPTIONS[@]+"${OPTIONS[@]}"} <<<"$answers"
}

main() {
  parse_arguments "$@"
  require_docker
  case "$TARGET" in
    http://* | https://*) smoke_url "$TARGET" ;;
    *) smoke_container "$TARGET" ;;
  esac
}

main "$@"
