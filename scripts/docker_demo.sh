# shellcheck shell=bash
# The demo with Docker: build, start the stack of docker-compose.yml, traffic, report. Sourced by run_demo.sh, which
# brings docker/lib.sh, scripts/processes.sh, its settings and what it prints.

HEALTHY_SECONDS=180

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
  settle_settings
  export BIND="${BIND:-$HOST}"
  export UI_BIND="${UI_BIND:-$BIND}"
  # The host may lack Python, so what asks the api does so from within its network.
  # shellcheck disable=SC2034  # run_demo.sh uses them
  INTERPRETER=(compose exec -T api python) API_URL=http://edge:5000
  if stack_runs; then show_running_stack; fi
  require_free_ports
  settle_admin_token
  start_stack
  send_traffic_in_docker
  show_where_the_stack_is
  wait_for_monitor
  say ""
  in_api report || warn "the report could not be made; see above"
  if [ "$ONCE" = no ]; then stay_with_stack; fi
}

stack_runs() { [ -n "$(containers_of edge --filter status=running)" ]; }

show_running_stack() {
  say "The stack runs already, as the Compose project $COMPOSE_PROJECT_NAME."
  say "  api:     $(published edge 5000)"
  say "  stop it: docker compose -p $COMPOSE_PROJECT_NAME down (without --volumes it keeps what it knows)"
  if [ "$ONCE" = yes ]; then exit 1; else exit 0; fi
}

# Docker would name the port too, but not who has it, and only after the first containers were started.
require_free_ports() {
  local name
  for name in API_PORT UI_PORT PROMETHEUS_PORT ALERTMANAGER_PORT; do
    require_free "$name"
  done
}

require_free() {
  local port="${!1:-}"
  if [ -z "$port" ] || [ "$port" = 0 ] || ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
  fail "port $port is taken by $(listener_on "$port"). Stop that, or choose another: $1=$((port + 1)) ./run_demo.sh"
}

start_stack() {
  say "Starting the stack (docker compose logs -f shows what it does) ..."
  STACK_STARTED=yes
  run compose up -d --no-build --remove-orphans >"$LOGS/compose.log" 2>&1 || explain_no_start
  run wait_healthy "$HEALTHY_SECONDS" || fail "the stack did not become healthy within $HEALTHY_SECONDS s; see above."
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
in_api() { run compose exec -T api python -m app "$@"; }

send_traffic_in_docker() {
  [ "$REQUESTS" -gt 0 ] || return 0
  say ""
  say "Sending $REQUESTS requests ..."
  in_api simulate --requests "$REQUESTS" --seed "$RANDOM" || warn "not all of the traffic was answered; see above"
}

# published SERVICE PORT: the URL at which a port of a container is published.
published() { say "http://$(docker port "$(containers_of "$1" | head -n 1)" "$2/tcp" 2>/dev/null | head -n 1)"; }

show_where_the_stack_is() {
  local api
  api="$(published edge 5000)"
  say ""
  say "Bakeoff is running."
  say "  api           $api (try it: $api/docs)"
  say "  health        $api/health"
  say "  history       $api/predictions/history?limit=5"
  say "  metrics       $api/metrics"
  say "  dashboard     $(published ui 8501)"
  say "  prometheus    $(published prometheus 9090)"
  say "  alertmanager  $(published alertmanager 9093)"
  say "  logs          docker compose -p $COMPOSE_PROJECT_NAME logs"
  say "  commands      docker compose -p $COMPOSE_PROJECT_NAME exec api python -m app --help"
  say "  admin token   $ADMIN_TOKEN_SOURCE"
  say ""
  say "Ask it something:"
  say "  curl -s $api/predict -d '{\"features\": [5.1, 3.5, 1.4, 0.2]}'"
}

# Stays until a signal, or until somebody else stops the stack.
stay_with_stack() {
  say ""
  say "Ctrl-C stops everything."
  while stack_runs; do
    sleep 2 &
    wait "$!" || true # unlike sleep itself, wait lets a signal in at once
  done
  fail "the stack was stopped elsewhere, or its edge ended: docker compose -p $COMPOSE_PROJECT_NAME ps -a"
}

# Removes what this run started; the volumes, and so all that the service knows, stay.
stop_stack() {
  # In a trap a bare `return` gives the status from before the trap, which would end the script here.
  [ "$STACK_STARTED" = yes ] || return 0
  say "Stopping the stack ..."
  compose down --timeout 40 >>"$LOGS/compose.log" 2>&1 </dev/null || warn "docker compose down failed; see $LOGS/compose.log"
}
