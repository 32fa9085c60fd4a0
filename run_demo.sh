#!/usr/bin/env bash
# From a clone to a working A/B test: install, train, start, send traffic, show what came of it. With Docker where it
# is there, else as processes of this host.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
PYTHON="$ROOT/.venv/bin/python"
INTERPRETER=("$PYTHON") # what reaches the api
READY_SECONDS=60

REQUESTS=400
ONCE=no
LOGS="logs"
COMMANDS="" # what `python -m app --help` offers
LOCK=""     # the file that names the demo running on this DATA_DIR
OWNS_LOCK=no
WAY="${BAKEOFF_DEMO:-}" # docker, local, or empty: with Docker where it can be used

# shellcheck source=docker/lib.sh
source "$ROOT/docker/lib.sh"
# shellcheck source=scripts/env_file.sh
source "$ROOT/scripts/env_file.sh"
# shellcheck source=scripts/processes.sh
source "$ROOT/scripts/processes.sh"
# shellcheck source=scripts/docker_demo.sh
source "$ROOT/scripts/docker_demo.sh"

usage() {
  cat <<'TEXT'
Usage: ./run_demo.sh [--local | --docker] [--requests N] [--once] [--logs DIR]

Starts the api, the monitor, the dashboard and Prometheus, waits until they answer, sends requests, prints where to
look, and stays until Ctrl-C, which stops all that it started. Two versions are trained first if there are none.

Where a Docker engine and Compose are there, it builds the images (if they are missing or the sources have changed) and
starts the stack of docker-compose.yml; Ctrl-C removes its containers and keeps its volumes. Elsewhere it installs what
is missing into .venv and runs the parts as processes of this host.

  --local       run the processes on this host, without containers (as BAKEOFF_DEMO=local does)
  --docker      with Docker, or not at all (as BAKEOFF_DEMO=docker does)
  --requests N  how many requests to send (400; 0 sends none)
  --once        stop everything after printing, and exit with 0; for machines
  --logs DIR    where the parts write their logs (logs)
  --help        show this text

Settings are read from the environment, then from .env beside this script (see .env.example). Two demos side by side:
API_PORT=5001 UI_PORT=8502 PROMETHEUS_PORT=9091 DATA_DIR=data2 ./run_demo.sh --local --logs logs2
API_PORT=5001 UI_PORT=8502 PROMETHEUS_PORT=9091 ALERTMANAGER_PORT=9094 COMPOSE_PROJECT_NAME=second ./run_demo.sh
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --local) WAY=local ;;
      --docker) WAY=docker ;;
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
  case "$WAY" in '' | local | docker) ;; *) bad_usage "BAKEOFF_DEMO: '$WAY' is neither local nor docker" ;; esac
}

# --- settings --------------------------------------------------------------------------------------------------------

settle_settings() {
  local host
  HOST="${HOST:-127.0.0.1}"
  API_PORT="${API_PORT:-5000}"
  UI_PORT="${UI_PORT:-8501}"
  PROMETHEUS_PORT="${PROMETHEUS_PORT:-9090}"
  DATA_DIR="${DATA_DIR:-data}"
  case "$HOST" in
    0.0.0.0 | ::) host=127.0.0.1 ;;
    *:*) host="[$HOST]" ;;
    *) host="$HOST" ;;
  esac
  API_URL="http://$host:$API_PORT"
  export HOST API_PORT UI_PORT PROMETHEUS_PORT DATA_DIR API_URL
  mkdir -p "$DATA_DIR" "$LOGS"
  LOCK="$DATA_DIR/demo.pid"
}

# Makes an administrative token once, and keeps it in a file that only this user may read.
settle_admin_token() {
  ADMIN_TOKEN_SOURCE="ADMIN_TOKEN, as you set it"
  if [ -z "${ADMIN_TOKEN:-}" ]; then
    local file="$DATA_DIR/admin.token"
    [ -s "$file" ] || (umask 077 && head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"$file")
    chmod 600 "$file"
    ADMIN_TOKEN="$(cat "$file")"
    ADMIN_TOKEN_SOURCE="in $file"
  fi
  export ADMIN_TOKEN
}

# --- one demo at a time, on a free port ------------------------------------------------------------------------------

is_demo() {
  if [ -r "/proc/$1/cmdline" ]; then
    tr '\0' ' ' <"/proc/$1/cmdline" | grep -q 'run_demo\.sh'
  else
    ps -p "$1" -o args= 2>/dev/null | grep -q 'run_demo\.sh'
  fi
}

# Takes the lock, or shows the demo that has it and ends.
take_lock() {
  local pid="" port=""
  if ! (set -o noclobber && printf '%s %s\n' "$$" "$API_PORT" >"$LOCK") 2>/dev/null; then
    read -r pid port <"$LOCK" || true
    if [ -n "$pid" ] && is_demo "$pid"; then show_running_demo "$pid" "$port"; fi
    printf '%s %s\n' "$$" "$API_PORT" >"$LOCK" # its holder was killed
  fi
  OWNS_LOCK=yes
}

show_running_demo() {
  say "The demo runs already (process $1) on port $2, with its data in $DATA_DIR."
  say "  look:       http://127.0.0.1:$2/docs"
  say "  stop it:    Ctrl-C where it runs, or: kill $1"
  say "  one beside: API_PORT=5001 PROMETHEUS_PORT=9091 DATA_DIR=data2 ./run_demo.sh --logs logs2"
  if [ "$ONCE" = yes ]; then exit 1; else exit 0; fi
}

require_free_port() {
  if port_is_free "$HOST" "$API_PORT"; then return; fi
  fail "port $API_PORT is taken by $(listener_on "$API_PORT"). Stop that, or choose another: API_PORT=5001 ./run_demo.sh"
}

# --- the parts -------------------------------------------------------------------------------------------------------

has_command() { grep -qE "^ +$1( |\$)" <<<"$COMMANDS"; }

train_if_empty() {
  local published
  published="$("$PYTHON" -m app models --json)"
  if "$PYTHON" -I -c 'import json, sys; sys.exit(not json.loads(sys.argv[1])["versions"])' "$published"; then return; fi
  say "The shelf is empty: training two versions ..."
  run "$PYTHON" -m app train
}

wait_until_ready() {
  local deadline=$((SECONDS + READY_SECONDS))
  until [ "$(http_status "$API_URL/health/ready")" = 200 ]; do
    if ! is_running api; then show_log_and_fail "the api stopped while starting"; fi
    if [ "$SECONDS" -ge "$deadline" ]; then show_log_and_fail "the api was not ready after $READY_SECONDS s"; fi
    sleep 0.2
  done
}

show_log_and_fail() {
  warn "$1; the end of $LOGS/api.log:"
  tail -n 20 "$LOGS/api.log" >&2
  exit 1
}

start_prometheus() {
  if ! command -v prometheus >/dev/null 2>&1; then
    say "Prometheus is not installed: going on without it."
    return
  elif ! port_is_free 127.0.0.1 "$PROMETHEUS_PORT"; then
    say "Port $PROMETHEUS_PORT is taken by $(listener_on "$PROMETHEUS_PORT"): going on without Prometheus (PROMETHEUS_PORT=9091 chooses another)."
    return
  fi
  cat >"$DATA_DIR/prometheus.yml" <<YAML
global: {scrape_interval: 5s}
scrape_configs:
  - job_name: bakeoff
    static_configs:
      - targets: ["${API_URL#http://}"]
YAML
  start prometheus prometheus --config.file="$DATA_DIR/prometheus.yml" --storage.tsdb.path="$DATA_DIR/prometheus" \
    --web.listen-address="127.0.0.1:$PROMETHEUS_PORT" --log.level=warn
}

start_parts() {
  start api "$PYTHON" -m app serve
  wait_until_ready
  if has_command monitor; then start monitor "$PYTHON" -m app monitor; fi
  if has_command ui; then start ui "$PYTHON" -m app ui; fi
  start_prometheus
}

# --- what came of it -------------------------------------------------------------------------------------------------

send_traffic() {
  [ "$REQUESTS" -gt 0 ] || return 0
  say ""
  say "Sending $REQUESTS requests ..."
  # Another seed each time: the same rows sent again would be counted as new evidence.
  run "$PYTHON" -m app simulate --requests "$REQUESTS" --seed "$RANDOM" || warn "not all of the traffic was answered; see above"
}

show_where_to_look() {
  say ""
  say "Bakeoff is running."
  say "  api         $API_URL (try it: $API_URL/docs)"
  say "  health      $API_URL/health"
  say "  history     $API_URL/predictions/history?limit=5"
  say "  metrics     $API_URL/metrics"
  if is_running ui; then say "  dashboard   http://127.0.0.1:$UI_PORT"; fi
  if is_running prometheus; then say "  prometheus  http://127.0.0.1:$PROMETHEUS_PORT"; fi
  say "  logs        $LOGS"
  say "  admin token $ADMIN_TOKEN_SOURCE"
  say ""
  say "Ask it something:"
  say "  curl -s $API_URL/predict -d '{\"features\": [5.1, 3.5, 1.4, 0.2]}'"
}

# How many requests and outcomes the monitor has counted; nothing where that cannot be read.
counted() {
  "${INTERPRETER[@]}" -I - "$API_URL/experiment" <<'PY' 2>/dev/null || true
import json, os, sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + os.environ.get("API_TOKEN", "")})
answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5)
print(sum(variant["requests"] + variant["labelled"] for variant in json.load(answer)["variants"]))
PY
}

# Until the monitor has taken in what was sent: its count stands still.
wait_for_monitor() {
  local before="" now tries=10
  while [ "$tries" -gt 0 ]; do
    now="$(counted)"
    if [ -n "$now" ] && [ "$now" = "$before" ]; then return; fi
    before="$now"
    tries=$((tries - 1))
    sleep 1.5
  done
}

show_experiment() {
  say ""
  if has_command report; then
    if is_running monitor; then wait_for_monitor; fi
    run "$PYTHON" -m app report || warn "the report could not be made; see above"
  else
    say "What the experiment says is not part of this release yet: there is no verdict to show."
  fi
}

# Stays until a signal, or until the api ends; says once when another part does.
stay() {
  local index
  say ""
  say "Ctrl-C stops everything."
  while true; do
    for index in "${!PIDS[@]}"; do
      if [ -z "${PIDS[$index]}" ] || is_alive "${PIDS[$index]}"; then continue; fi
      if [ "${NAMES[$index]}" = api ]; then show_log_and_fail "the api stopped"; fi
      warn "${NAMES[$index]} stopped; see $LOGS/${NAMES[$index]}.log. The rest goes on."
      PIDS[index]=""
    done
    sleep 1 &
    wait "$!" || true # unlike sleep itself, wait lets a signal in at once
  done
}

end() {
  stop_all
  stop_stack
  if [ "$OWNS_LOCK" = yes ]; then rm -f "$LOCK"; fi
}

run_locally() {
  run ./install.sh --local
  settle_settings
  take_lock
  require_free_port
  COMMANDS="$("$PYTHON" -m app --help)"
  settle_admin_token
  train_if_empty
  start_parts
  send_traffic
  show_where_to_look
  show_experiment
  if [ "$ONCE" = no ]; then stay; fi
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
