#!/usr/bin/env bash
# Starts and removes a separate stack for tests, with its own volumes and on free ports; `up` prints its URLs.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=""
TAG="${BAKEOFF_TAG:-local}"
WAIT_SECONDS="${WAIT_SECONDS:-180}"

usage() {
  cat <<'TEXT'
Usage: docker/scratch.sh up|down NAME [--tag TAG]

up    starts the stack of docker-compose.yml as the project bakeoff-NAME, waits until every service is healthy, and
      prints its addresses as NAME=VALUE lines (API_URL, UI_URL, PROMETHEUS_URL, ALERTMANAGER_URL, PROJECT, …)
down  stops it and removes its containers, network and volumes

  --tag TAG  the images' tag (default: BAKEOFF_TAG, or local)
  --help     show this text

The service's settings are read from the environment. Only the NAME=VALUE lines go to standard output.
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
  [ "${#positional[@]}" -eq 2 ] || bad_usage "give up or down, and a name"
  COMMAND="${positional[0]}"
  NAME="${positional[1]}"
  case "$COMMAND" in up | down) ;; *) bad_usage "unknown command: $COMMAND (up or down)" ;; esac
  [[ "$NAME" =~ ^[a-z0-9][a-z0-9_-]{0,40}$ ]] ||
    bad_usage "invalid name '$NAME': use lower-case letters, digits, - and _"
}

# Sets the project's name and tag, and lets Docker choose free ports.
set_project() {
  export COMPOSE_PROJECT_NAME="bakeoff-$NAME" BAKEOFF_TAG="$TAG" BIND=127.0.0.1 UI_BIND=127.0.0.1 OPERATIONS_BIND=127.0.0.1
  # Not those of .env, which are the stack's here.
  export ADMIN_BIND="${ADMIN_BIND:-}" TLS_BIND="${TLS_BIND:-}" TLS_CERT_FILE="${TLS_CERT_FILE:-}"
  export API_PORT=0 UI_PORT=0 PROMETHEUS_PORT=0 ALERTMANAGER_PORT=0 GRAFANA_PORT=0
}

# url_of SERVICE PORT: the URL of a published port.
url_of() {
  local container
  container="$(containers_of "$1" | head -n 1)"
  say "http://$(docker port "$container" "$2/tcp" | head -n 1)"
}

up() {
  compose up -d --no-build >&2 || give_up "the stack did not start"
  wait_healthy "$WAIT_SECONDS" || give_up "the stack did not become healthy"
  say "PROJECT=$COMPOSE_PROJECT_NAME"
  say "BAKEOFF_TAG=$BAKEOFF_TAG"
  say "API_URL=$(url_of edge 5080)"
  say "ADMIN_URL=$(url_of edge 5000)"
  say "UI_URL=$(url_of ui 8501)"
  say "PROMETHEUS_URL=$(url_of prometheus 9090)"
  say "ALERTMANAGER_URL=$(url_of alertmanager 9093)"
  say "NETWORK=${COMPOSE_PROJECT_NAME}_default"
}

give_up() {
  down
  fail "$1; see above. It was removed."
}

down() {
  compose down --volumes --remove-orphans --timeout 5 >&2
}

main() {
  parse_arguments "$@"
  require_docker
  set_project
  "$COMMAND"
}

main "$@"
