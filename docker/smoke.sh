#!/usr/bin/env bash
# Runs the smoke test against a running api. The expected answers are computed from the stack's signed model registry.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TARGET=""
OPTIONS=()

usage() {
  cat <<'TEXT'
Usage: docker/smoke.sh URL|CONTAINER [--json]

Checks health, each version's predictions against expected answers, batches, error responses, metrics and the OpenAPI
document. The requests are forced to a version and marked as synthetic, so that the experiment does not count them.
Prints one line per check; exit status 1 if one fails.

  URL        the api's address as seen from this host, such as http://127.0.0.1:5000; with ADMIN_BIND, that one
  CONTAINER  the name of a container of the stack, such as edge
  --json     print the checks as JSON
  --help     show this text

bakeoff-api:$BAKEOFF_TAG computes the expected answers from the model registry of the project COMPOSE_PROJECT_NAME.
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
  [ -n "$TARGET" ] || bad_usage "give a URL, or a container of the stack"
  [[ "$TARGET" =~ ^(https?://[][A-Za-z0-9.:_-]+(/[A-Za-z0-9./_-]*)?|[A-Za-z0-9][A-Za-z0-9_.-]*)$ ]] ||
    bad_usage "'$TARGET' is neither a URL nor the name of a container"
}

# smoke_container NAME: tests a container of the stack from inside its network.
smoke_container() {
  compose run --rm --no-deps -T api python -m app smoke "http://$1:5000" ${OPTIONS[@]+"${OPTIONS[@]}"} </dev/null
}

# smoke_url URL: tests an address as this host sees it. One container reads the model registry, a second one on the
# host's own network compares.
smoke_url() {
  local answers image container
  container="$(containers_of api | head -n 1)"
  [ -n "$container" ] ||
    fail "the project $COMPOSE_PROJECT_NAME has no api on this host, so there is no model registry to compare with."
  image="$(docker inspect -f '{{ .Config.Image }}' "$container")"
  answers="$(compose run --rm --no-deps -T api python -m app smoke --print-answers </dev/null)" ||
    fail "the expected answers could not be computed; see above."
  docker run --rm -i --network host -e API_TOKEN -e PREDICT_TOKEN -e FEEDBACK_TOKEN -e DATA_DIR=/tmp -e MODEL_DIR=/tmp --read-only --cap-drop ALL "$image" \
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
