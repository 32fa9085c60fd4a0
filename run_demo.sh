#!/usr/bin/env bash
# From a clone to a working A/B test: install, train, start, send traffic, print the report. With Docker where it is
# available, otherwise as processes of this host: there `bakeoff demo` does the work.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

REQUESTS=400
ONCE=no
FULL=no
LOGS="logs"
WAY="${BAKEOFF_DEMO:-}" # docker, local, or empty: with Docker where it can be used
TASK=""                 # the process that `run` waits for

# shellcheck source=docker/lib.sh
source "$ROOT/docker/lib.sh"
# shellcheck source=scripts/env_file.sh
source "$ROOT/scripts/env_file.sh"
# shellcheck source=scripts/docker_demo.sh
source "$ROOT/scripts/docker_demo.sh"

usage() {
  cat <<'TEXT'
Usage: ./run_demo.sh [--local | --docker | --full] [--requests N] [--once] [--logs DIR]

Starts the api, the monitor, the dashboard and Prometheus, waits until they answer, sends requests, prints the addresses
and the report, and stays until Ctrl-C, which stops everything it started. Two versions are trained first if there are
none.

Where a Docker engine and Compose are available, it builds the images (if they are missing or the sources have changed)
and starts the stack of docker-compose.yml; Ctrl-C removes its containers and keeps its volumes. Elsewhere it installs
what is missing into .venv and starts the processes on this host (bakeoff demo).

  --local       run the processes on this host, without containers (as BAKEOFF_DEMO=local does)
  --docker      with Docker, or not at all (as BAKEOFF_DEMO=docker does)
  --full        with Docker, and with everything: PostgreSQL for the log, MLflow with its database and object store,
                Grafana. Runs the smoke test, too. Takes up to 3.4 GB of memory, on a large host more (API_MEMORY); what
                cannot be pulled is named and left out. Its choices stay in .env, for the next start
  --requests N  how many requests to send (400; 0 sends none)
  --once        stop everything after the report, and exit with 0; for scripts
  --logs DIR    the folder for the logs (logs)
  --help        show this text

Settings are read from the environment, then from .env beside this script (see .env.example). Two demos side by side:
API_PORT=5001 UI_PORT=8502 PROMETHEUS_PORT=9091 DATA_DIR=data2 MODEL_DIR=models2 ./run_demo.sh --local --logs logs2
API_PORT=5001 UI_PORT=8502 PROMETHEUS_PORT=9091 ALERTMANAGER_PORT=9094 COMPOSE_PROJECT_NAME=second ./run_demo.sh
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --local) WAY=local ;;
      --docker) WAY=docker ;;
      --full) FULL=yes ;;
      --once) ONCE=yes ;;
      --requests | --logs)
        [ $# -ge 2 ] || bad_usage "$1 needs a value"
        if [ "$1" = --logs ]; then LOGS="$2"; else REQUESTS="$2"; fi
        shift
        ;;
      --help | -h)
        usage
        exit 0
        ;;
      *) bad_usage "unknown option: $1" ;;
    esac
    shift
  done
  case "$REQUESTS" in '' | *[!0-9]*) bad_usage "--requests: '$REQUESTS' is not a whole number" ;; esac
  if [ "$FULL" = yes ]; then
    [ "$WAY" != local ] || bad_usage "--full needs Docker: leave --local and BAKEOFF_DEMO=local out"
    WAY=docker
  fi
  case "$WAY" in '' | local | docker) ;; *) bad_usage "BAKEOFF_DEMO: '$WAY' is neither local nor docker" ;; esac
}

# run COMMAND...: its status, as if called plainly; but a signal to this script takes effect at once.
run() {
  local status=0
  set -m # in its own process group, so that `stop_task` reaches what it started
  "$@" </dev/null &
  TASK="$!"
  set +m
  wait "$TASK" || status="$?"
  TASK=""
  return "$status"
}

# Asks with SIGTERM, waits, and kills what is left of the process group; a second signal ends the waiting.
stop_task() {
  local ticks=350 # of 0.1 s
  trap 'ticks=0' INT TERM
  trap '' HUP
  if [ -z "$TASK" ]; then return 0; fi
  kill -TERM "$TASK" 2>/dev/null || true
  while kill -0 "$TASK" 2>/dev/null && [ "$ticks" -gt 0 ]; do
    sleep 0.1
    ticks=$((ticks - 1))
  done
  kill -KILL -- "-$TASK" 2>/dev/null || true
  wait "$TASK" 2>/dev/null || true
}

end() {
  stop_task
  stop_stack
}

run_locally() {
  local options=(--requests "$REQUESTS" --logs "$LOGS")
  if [ "$ONCE" = yes ]; then options+=(--once); fi
  run ./install.sh --local
  exec "$ROOT/.venv/bin/python" -m app demo "${options[@]}"
}

main() {
  parse_arguments "$@"
  cd "$ROOT"
  load_env_file "$ROOT/.env"
  trap end EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  if can_use_docker; then run_in_docker; else run_locally; fi
}

main "$@"
