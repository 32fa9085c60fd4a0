# shellcheck shell=bash
# Replaces the api without a failed request: the old containers stay until all new ones have passed their checks.
# Sourced after lib.sh and release.sh. Reasons for the order: docs/adr/0018-rolling-an-api-without-a-failed-request.md

HEALTHY_SECONDS="${HEALTHY_SECONDS:-90}"
# The edge proxy checks each api's readiness once a second, so it notices a draining api within that time.
DRAIN_SECONDS="${DRAIN_SECONDS:-3}"
STOP_SECONDS=35
CANDIDATE=""
OLD=()
NEW=()
OTHERS_TOUCHED=no

# compose_as TAG ARGUMENTS...: runs Compose with the images of that tag.
compose_as() {
  local BAKEOFF_TAG="$1"
  shift
  export BAKEOFF_TAG
  compose "$@" 9>&-
}

# quietly COMMAND...: prints the output only if the command fails, with advice for known failures.
quietly() {
  local output
  output="$("$@" 2>&1)" || {
    warn "${output:-$* failed}"
    case "$output" in
      *"port is already allocated"* | *"address already in use"*)
        warn "a port is already in use: choose another one in $PROJECT_ROOT/.env (API_PORT, TLS_BIND, ADMIN_BIND, UI_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT)." ;;
      *"no space left on device"*) warn "the disk is full: remove old images (docker image prune) or backups." ;;
    esac
    return 1
  }
}

running_apis() { containers_of api --all=false; }

# wait_container NAME: waits until it is healthy; fails if it exits, restarts, or takes too long.
wait_container() {
  local deadline=$((SECONDS + HEALTHY_SECONDS)) state=""
  while [ "$SECONDS" -lt "$deadline" ]; do
    state="$(docker inspect -f '{{ .State.Status }} {{ .RestartCount }} {{ .State.Health.Status }}' "$1" 2>/dev/null)" || state="gone"
    case "$state" in
      "running 0 healthy") return 0 ;;
      "running 0 "* | "created 0 "*) ;;
      gone)
        warn "the new api's container was removed."
        return 1
        ;;
      "running "* | "restarting "*)
        warn "the new api crashed and was restarted."
        return 1
        ;;
      *)
        warn "the new api did not stay up: it is ${state%% *} (exit status $(docker inspect -f '{{ .State.ExitCode }}' "$1" 2>/dev/null))."
        return 1
        ;;
    esac
    sleep 0.5
  done
  warn "the new api did not become healthy within $HEALTHY_SECONDS s ($state)."
  return 1
}

show_log() {
  warn "the end of the new container's log:"
  docker logs --tail 25 "$1" 2>&1 | sed 's/^/    /' >&2 || true
}

# --- the candidate: a new api that gets no traffic --------------------------------------------------------------------

# try_candidate TAG SMOKE-TAG: starts it on the stack's network and volumes and tests it with the other image.
try_candidate() {
  CANDIDATE="$COMPOSE_PROJECT_NAME-candidate"
  docker rm -f "$CANDIDATE" >/dev/null 2>&1 || true
  say "Testing bakeoff-api:$1 beside the service ..."
  quietly compose_as "$1" run -d --no-deps --name "$CANDIDATE" api || return 1
  wait_container "$CANDIDATE" || return 1
  smoke_from "$2" "http://$CANDIDATE:5000" || {
    warn "the new api failed the smoke test; see above."
    return 1
  }
  docker stop -t 15 "$CANDIDATE" >/dev/null
  docker rm "$CANDIDATE" >/dev/null
  CANDIDATE=""
}

# smoke_from TAG URL: runs the smoke test of that tag's image from inside the stack; prints the failed checks only. The
# image under test must not compute the expected answers: one that predicts wrongly would agree with itself.
smoke_from() {
  local output
  output="$(compose_as "$1" run --rm --no-deps -T api python -m app smoke "$2" </dev/null 2>&1)" || {
    printf '%s\n' "$output" | grep -v '^ok  ' | sed 's/^/    /' >&2
    return 1
  }
}

# --- the rolling deployment -------------------------------------------------------------------------------------------

# start_beside TAG: starts as many new apis as there are old ones and waits until the edge proxy sees all of them ready.
start_beside() {
  local id
  mapfile -t OLD < <(running_apis)
  remove_stopped
  say "Starting ${#OLD[@]} new api container(s) beside ${#OLD[@]} old ..."
  # Not --no-deps: Compose v2 would record another configuration hash, and the next `up` would replace the containers.
  quietly compose_as "$1" up -d --no-recreate --no-build --scale "api=$((2 * ${#OLD[@]}))" api || {
    find_new
    return 1
  }
  find_new
  [ "${#NEW[@]}" -eq "${#OLD[@]}" ] || {
    warn "Compose started ${#NEW[@]} new api container(s), expected ${#OLD[@]}."
    return 1
  }
  for id in "${NEW[@]}"; do wait_container "$id" || return 1; done
  wait_for_edge "$((2 * ${#OLD[@]}))"
}

find_new() {
  local id
  NEW=()
  for id in $(containers_of api); do
    [[ " ${OLD[*]} " == *" $id "* ]] || NEW+=("$id")
  done
}

# Compose would restart a container that stopped earlier, and count it as a new one.
remove_stopped() {
  local id
  for id in $(containers_of api); do
    [[ " ${OLD[*]} " == *" $id "* ]] || docker rm -f "$id" >/dev/null
  done
}

# wait_for_edge COUNT: waits until the edge proxy sends requests to that many apis.
wait_for_edge() {
  local deadline=$((SECONDS + 30)) edge up=0
  edge="$(containers_of edge | head -n 1)"
  [ -n "$edge" ] || return 0
  while [ "$SECONDS" -lt "$deadline" ]; do
    up="$(apis_at_edge "$edge")"
    [ "$up" != "$1" ] || return 0
    sleep 0.25
  done
  warn "the edge proxy sees $up ready api container(s), expected $1."
  return 1
}

# How many apis the edge proxy sends requests to, by its own metrics. Its image has neither curl nor wget.
apis_at_edge() {
  docker exec "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/8404 && printf "GET /metrics HTTP/1.0\r\n\r\n" >&3 && cat <&3' 2>/dev/null |
    grep -c '^haproxy_server_status{proxy="apis",server="api[0-9]*",state="UP"} 1' || true
}

# Compose sets DRAIN_FILE in the container; the api checks for the file ten times a second.
drain() { docker exec "$1" sh -c 'touch "$DRAIN_FILE"'; }
undrain() { docker exec "$1" sh -c 'rm -f "$DRAIN_FILE"'; }

# shift_traffic SMOKE-TAG: drains the old apis, then tests the new ones through the edge proxy.
shift_traffic() {
  local id
  say "Draining the old api ..."
  for id in "${OLD[@]}"; do
    drain "$id" || return 1
  done
  sleep "$DRAIN_SECONDS"
  [ -z "$(containers_of edge)" ] || smoke_from "$1" "http://edge:5000" || {
    warn "the new api failed the smoke test through the edge proxy; see above."
    return 1
  }
}

# replace_others TAG: replaces the monitor and the dashboard, and other services if their configuration changed.
replace_others() {
  local service
  say "Replacing the monitor and the dashboard ..."
  OTHERS_TOUCHED=yes
  # First what the others reach: a new dashboard may be on a network that the old edge proxy is not on.
  for service in edge prometheus alertmanager; do update_config "$1" "$service" || return 1; done
  # `train` has nothing to do here. But with its old image, the next plain `up` would replace it and the api after it.
  quietly compose_as "$1" up -d --no-deps --no-build train monitor ui || return 1
  wait_healthy "$HEALTHY_SECONDS"
}

remove_old() {
  say "Stopping the old api ..."
  quietly docker stop -t "$STOP_SECONDS" "${OLD[@]}" || true
  quietly docker rm -f "${OLD[@]}" || warn "an old api container could not be removed: docker rm -f ${OLD[*]}"
}

# undo OLD-TAG: restores the old release and prints the end of the new api's log.
undo() {
  local id
  if [ -n "$CANDIDATE" ] && docker inspect "$CANDIDATE" >/dev/null 2>&1; then
    show_log "$CANDIDATE"
    docker rm -f "$CANDIDATE" >/dev/null 2>&1 || true
  fi
  for id in ${OLD[@]+"${OLD[@]}"}; do undrain "$id" >/dev/null 2>&1 || true; done
  if [ "${#NEW[@]}" -gt 0 ]; then
    show_log "${NEW[0]}"
    [ "${#OLD[@]}" -eq 0 ] || wait_ready "${OLD[@]}"
    for id in "${NEW[@]}"; do drain "$id" >/dev/null 2>&1 || true; done
    sleep "$DRAIN_SECONDS"
    docker stop -t "$STOP_SECONDS" "${NEW[@]}" >/dev/null 2>&1 || true
    docker rm -f "${NEW[@]}" >/dev/null 2>&1 || true
  fi
  if [ "$OTHERS_TOUCHED" = yes ]; then
    quietly compose_as "$1" up -d --no-deps --no-build train monitor ui || true
  fi
}

# Waits until the old apis are ready again and the edge proxy has noticed. Only then may the new ones be removed.
wait_ready() {
  local deadline=$((SECONDS + 10)) id
  for id in "$@"; do
    until docker exec "$id" python -I -S docker/healthcheck.py "http://127.0.0.1:5000/health/ready?of=predictions" >/dev/null 2>&1; do
      [ "$SECONDS" -lt "$deadline" ] || break
      sleep 0.5
    done
  done
  sleep "$DRAIN_SECONDS"
}
