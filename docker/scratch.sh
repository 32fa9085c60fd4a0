#!/usr/bin/env bash
# A stack of its own, on free ports and with volumes of its own, for tests: `up` prints where it answers.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=""
TAG="${BAKEOFF_TAG:-local}"
WAIT_SECONDS="${WAIT_SECONDS:-180}"

usage() {
  cat <<'TEXT'
Usage: docker/scratch.sh up|down NAME [--tag TAG]

up    starts the stack of docker-compose.yml as the project bakeoff-NAME, waits until every part of it is healthy,
      and prints where it answers as NAME=VALUE lines (API_URL, UI_URL, PROMETHEUS_URL, ALERTMANAGER_URL, PROJECT, …)
down  stops it and removes its containers, network and volumes

  --tag TAG  the images' tag (BAKEOFF_TAG, or local)
  --help     show this text

Settings of the service are taken from the environment. What has been printed is all that goes to standard output.
TEXT
}

parse_arguments() {
  local positional=()
  while [ $# -gt 0 ]; do
    case "$1" in
      --tag)
        [ $# -ge 2 ] || bad_usage "--tag needs a value"
        TAG="$2"
        shift
        ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*) bad_usage "unknown option: $1" ;;
      *) positional+=("$1") ;;
    esac
    shift
  done
  [ "${#positional[@]}" -eq 2 ] || bad_usage "say up or down, and a name"
  COMMAND="${positional[0]}"
  NAME="${positional[1]}"
  case "$COMMAND" in up | down) ;; *) bad_usage "'$COMMAND' is neither up nor down" ;; esac
  [[ "$NAME" =~ ^[a-z0-9][a-z0-9_-]{0,40}$ ]] || bad_usage "'$NAME' is not a name (lower-case letters, digits, - and _)"
}

# Settings for a project of its own; Docker picks free ports.
settle() {
  export COMPOSE_PROJECT_NAME="bakeoff-$NAME" BAKEOFF_TAG="$TAG" BIND=127.0.0.1 UI_BIND=127.0.0.1 OPERATIONS_BIND=127.0.0.1
  export API_PORT=0 UI_PORT=0 PROMETHEUS_PORT=0 ALERTMANAGER_PORT=0 GRAFANA_PORT=0
}

# where SERVICE PORT: the URL of a published port.
where() {
  local container
  container="$(containers_of "$1" | head -n 1)"
  say "http://$(docker port "$container" "$2/tcp" | head -n 1)"
}

up() {
  compose up -d --no-build >&2 || give_up "the stack did not start"
  wait_healthy "$WAIT_SECONDS" || give_up "the stack did not become healthy"
  say "PROJECT=$COMPOSE_PROJECT_NAME"
  say "BAKEOFF_TAG=$BAKEOFF_TAG"
  say "API_URL=$(where edge 5000)"
  say "UI_URL=$(where ui 8501)"
  say "PROMETHEUS_URL=$(where prometheus 9090)"
  say "ALERTMANAGER_URL=$(where alertmanager 9093)"
  say "NETWORK=${COMPOSE_PROJECT_NAME}_default"
}

give_up() {
  down
  fail "$1; see above. It was removed again."
}

down() {
  compose down --volumes --remove-orphans --timeout 5 >&2
}

main() {
  parse_arguments "$@"
  require_docker
  settle
  "$COMMAND"
}

main "$@"
