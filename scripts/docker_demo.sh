# shellcheck shell=bash
# The demo with Docker: build, start the stack of docker-compose.yml, send traffic, print the report. Sourced by
# run_demo.sh, which brings docker/lib.sh, its options and `run`. Needs no Python on the host.

HEALTHY_SECONDS="${HEALTHY_SECONDS:-180}"
CATCH_UP_SECONDS=180 # how long the report waits for the monitor at most: its first one takes a while on a busy host
GONE_SECONDS=30      # how long the edge may be away before the stack counts as stopped

STACK_STARTED=no # whether this run started the stack, and so has to stop it

# Whether the demo runs with Docker: as was asked for, else where Docker can be used and the images can be had.
can_use_docker() {
  local problem
  [ "$WAY" != local ] || return 1
  problem="$(docker_problem)"
  if [ -z "$problem" ] && { stack_runs || run docker/build.sh --if-changed; }; then return; fi
  problem="${problem:-the images could not be built; see above.}"
  [ "$WAY" != docker ] || fail "$problem Without Docker: ./run_demo.sh --local"
  say "Going on without containers: $problem"
  return 1
}

run_in_docker() {
  apply_defaults
  if stack_runs; then show_running_stack; fi
  if [ "$FULL" = yes ]; then add_all_parts; fi
  require_free_ports
  set_admin_token
  start_stack
  send_traffic
  show_addresses
  if [ "$FULL" = yes ]; then test_whole_stack; fi
  say ""
  in_api report --wait "$CATCH_UP_SECONDS" || warn "the report could not be made; see above"
  show_next
  if [ "$ONCE" = no ]; then stay_with_stack; fi
}

apply_defaults() {
  export API_PORT="${API_PORT:-5000}" UI_PORT="${UI_PORT:-8501}" PROMETHEUS_PORT="${PROMETHEUS_PORT:-9090}"
  export DATA_DIR="${DATA_DIR:-data}"
  export BIND="${BIND:-${HOST:-127.0.0.1}}"
  export UI_BIND="${UI_BIND:-$BIND}"
  export LABELS_EXOGENOUS="${LABELS_EXOGENOUS:-true}" # the demo makes its labels itself, whatever was answered
  mkdir -p "$DATA_DIR" "$LOGS"
}

# What --full adds, as Compose profiles: each whose images are here or can be pulled.
add_all_parts() {
  local profile missing chosen=""
  case "$(compose_command)" in
    "docker compose"*) ;;
    *) fail "--full needs Compose 2, the plugin of docker: docker-compose does not say which images a profile has." ;;
  esac
  for profile in postgres tracking grafana; do
    missing="$(images_that_lack "$profile")"
    if [ -z "$missing" ]; then
      chosen+="${chosen:+,}$profile"
    else
      warn "without the profile $profile: this host has not, and cannot pull: $missing"
    fi
  done
  # In .env, as all that decides what the stack is: a plain `docker compose up -d` would take another log.
  keep COMPOSE_PROFILES "$chosen"
  if has_part postgres; then
    set_password POSTGRES_PASSWORD
    settle DATABASE_URL postgresql://bakeoff@postgres/bakeoff
  fi
  if has_part tracking; then
    set_password TRACKING_PASSWORD
    settle MLFLOW_TRACKING_URI http://mlflow:5000
  fi
  if has_part grafana; then set_password GRAFANA_PASSWORD; fi
}

has_part() { [[ ",${COMPOSE_PROFILES:-}," == *",$1,"* ]]; }

# images_that_lack PROFILE: the images of the profile's services that are not here and cannot be pulled.
images_that_lack() {
  local image missing=()
  while read -r image; do
    docker image inspect "$image" >/dev/null 2>&1 && continue
    say "Pulling $image ..." >&2
    docker pull -q "$image" >>"$LOGS/compose.log" 2>&1 </dev/null || missing+=("$image")
  done < <(comm -13 <(images_with none) <(images_with "$1"))
  say "${missing[*]-}"
}

images_with() {
  COMPOSE_PROFILES="$1" compose config 2>/dev/null | sed -n 's/^ *image: *//p' | tr -d "'\"" | LC_ALL=C sort -u
}

# set_password NAME: a random one where none is set. In .env, since a database keeps that of its first start.
set_password() {
  local value
  value="$(setting "$1")"
  if [ -z "$value" ]; then
    value="$(od -An -N18 -tx1 /dev/urandom | tr -d ' \n')"
    if set_in_env "$1" "$value"; then chmod 600 "$PROJECT_ROOT/.env"; fi
  fi
  export "$1=$value"
}

# Makes an administrative token once, and keeps it in a file that only this user may read; in .env as well, for whoever
# calls Compose or deploys from this folder later: without it, administration would be switched off.
set_admin_token() {
  ADMIN_TOKEN_SOURCE="ADMIN_TOKEN, as you set it"
  if [ -n "${ADMIN_TOKEN_FILE:-}" ]; then
    ADMIN_TOKEN_SOURCE="in $ADMIN_TOKEN_FILE of the containers"
  elif [ -z "${ADMIN_TOKEN:-}" ]; then
    local file="$DATA_DIR/admin.token"
    [ -s "$file" ] || (umask 077 && head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"$file")
    chmod 600 "$file"
    ADMIN_TOKEN="$(cat "$file")"
    ADMIN_TOKEN_SOURCE="in $file"
    if set_in_env ADMIN_TOKEN "$ADMIN_TOKEN"; then chmod 600 "$PROJECT_ROOT/.env"; fi
  fi
  export ADMIN_TOKEN="${ADMIN_TOKEN:-}"
}

stack_runs() { [ -n "$(containers_of edge --filter status=running)" ]; }

show_running_stack() {
  say "The stack runs already, as the Compose project $COMPOSE_PROJECT_NAME."
  say "  api:     $(published edge 5080)"
  say "  stop it: docker compose -p $COMPOSE_PROJECT_NAME down (without --volumes it keeps what it knows)"
  if [ "$FULL" = yes ]; then say "  no part was added: stop it first, then type ./run_demo.sh --full again"; fi
  if [ "$ONCE" = yes ]; then exit 1; else exit 0; fi
}

# Docker would name the port too, but not who has it, and only after the first containers were started.
require_free_ports() {
  local name
  for name in API_PORT UI_PORT PROMETHEUS_PORT ALERTMANAGER_PORT; do
    require_free "$name"
  done
  if has_part tracking; then require_free MLFLOW_PORT; fi
  if has_part grafana; then require_free GRAFANA_PORT; fi
}

require_free() {
  local port="${!1:-}"
  if [ -z "$port" ] || [ "$port" = 0 ] || ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
  fail "port $port is taken by $(listener_on "$port"). Stop that, or choose another: $1=$((port + 1)) ./run_demo.sh"
}

# The process that listens on a port, as far as this user may know.
listener_on() {
  local found=""
  if command -v ss >/dev/null 2>&1; then
    found="$(ss -ltnpH "sport = :$1" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (process \2)/p' | head -n 1)"
  elif command -v lsof >/dev/null 2>&1; then
    found="$(lsof -nP -iTCP:"$1" -sTCP:LISTEN 2>/dev/null | awk 'NR == 2 { print $1 " (process " $2 ")" }')"
  fi
  say "${found:-another process}"
}

start_stack() {
  say "Starting the stack (docker compose logs -f shows what it does) ..."
  STACK_STARTED=yes
  start_what_training_needs
  run compose up -d --no-build --remove-orphans >"$LOGS/compose.log" 2>&1 || explain_no_start
  run wait_healthy "$HEALTHY_SECONDS" || explain_slow_start "$HEALTHY_SECONDS"
}

# The first models are trained as the stack starts, and logged to MLflow if that answers.
start_what_training_needs() {
  local services=()
  if has_part postgres; then services+=(postgres); fi
  if has_part tracking; then services+=(mlflow); fi
  [ "${#services[@]}" -gt 0 ] || return 0
  run compose up -d --no-build "${services[@]}" >"$LOGS/compose.log" 2>&1 || explain_no_start
  run wait_healthy $((2 * HEALTHY_SECONDS)) || explain_slow_start $((2 * HEALTHY_SECONDS)) # MLflow makes its tables
}

explain_slow_start() {
  fail "not all parts were healthy within $1 s; see above. If the host is only busy: HEALTHY_SECONDS=$((4 * HEALTHY_SECONDS)) ./run_demo.sh"
}

explain_no_start() {
  tail -n 12 "$LOGS/compose.log" >&2
  show_lagging "$(lagging_containers)"
  case "$(cat "$LOGS/compose.log")" in
    *"port is already allocated"* | *"address already in use"*) fail "a port is taken; choose others, for example: API_PORT=5001 ./run_demo.sh" ;;
    *"no space left"*) fail "the disk is full." ;;
    *) fail "the stack did not start; see above, and $LOGS/compose.log." ;;
  esac
}

# in_api ARGUMENTS...: a command of Bakeoff in the api's container.
in_api() { run compose exec -T api bakeoff "$@"; }

send_traffic() {
  [ "$REQUESTS" -gt 0 ] || return 0
  say ""
  say "Sending $REQUESTS requests ..."
  in_api simulate --requests "$REQUESTS" || warn "not all of the traffic was answered; see above"
}

# published SERVICE PORT: the URL at which a port of a container is published.
published() { say "http://$(docker port "$(containers_of "$1" | head -n 1)" "$2/tcp" 2>/dev/null | head -n 1)"; }

show_addresses() {
  local api
  api="$(published edge 5080)"
  say ""
  say "Bakeoff is running."
  say "  api           $api (try it: $api/docs)"
  say "  health        $api/health"
  say "  history       $api/predictions/history?limit=5"
  say "  metrics       $api/metrics"
  say "  dashboard     $(published ui 8501)"
  say "  prometheus    $(published prometheus 9090)"
  say "  alertmanager  $(published alertmanager 9093)"
  if has_part grafana; then say "  grafana       $(published grafana 3000) (user admin, GRAFANA_PASSWORD in .env)"; fi
  if has_part tracking; then
    say "  mlflow        $(published mlflow 5000)"
    say "  object store  http://objects:8333, in the network of the stack alone (MLflow's bucket: mlflow)"
  fi
  if has_part postgres; then
    say "  postgresql    docker compose -p $COMPOSE_PROJECT_NAME exec postgres psql -U bakeoff"
  fi
  say "  logs          docker compose -p $COMPOSE_PROJECT_NAME logs"
  say "  commands      docker compose -p $COMPOSE_PROJECT_NAME exec api bakeoff --help"
  say "  admin token   $ADMIN_TOKEN_SOURCE"
  say ""
  say "Ask it something:"
  say "  curl -s $api/predict -d '{\"features\": [5.1, 3.5, 1.4, 0.2]}'"
}

# The smoke test of a deployment, at the edge. The other parts have their health checks, for which the start waited.
# MLflow lacks the models if it was too slow for the training, or if they were here before it.
test_whole_stack() {
  say ""
  say "Testing it ..."
  run "$PROJECT_ROOT/docker/smoke.sh" edge || fail "the smoke test failed; see above."
  if has_part tracking; then in_api publish --to-mlflow || fail "MLflow lacks the models; see above."; fi
}

show_next() {
  local command="docker compose -p $COMPOSE_PROJECT_NAME exec api bakeoff"
  say ""
  say "What to type next, in a second terminal in this folder:"
  say "  $command simulate --requests 3000    more traffic, with labels"
  say "  $command report                      the result so far; look as often as you like"
}

# Stays until a signal, or until somebody else has stopped the stack. A container that restarts is back before that.
stay_with_stack() {
  local seen="$SECONDS"
  say ""
  say "Ctrl-C stops everything."
  while [ $((SECONDS - seen)) -lt "$GONE_SECONDS" ]; do
    if stack_runs; then seen="$SECONDS"; fi
    sleep 2 &
    wait "$!" || true # unlike sleep itself, wait lets a signal in at once
  done
  fail "the edge has not run for $GONE_SECONDS s: it ended, or the stack was stopped elsewhere"
}

# Removes what this run started; the volumes, and so all that the service knows, stay.
stop_stack() {
  # In a trap a bare `return` gives the status from before the trap, which would end the script here.
  [ "$STACK_STARTED" = yes ] || return 0
  say "Stopping the stack ..."
  compose down --timeout 40 >>"$LOGS/compose.log" 2>&1 </dev/null || warn "docker compose down failed; see $LOGS/compose.log"
}
