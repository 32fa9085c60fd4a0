# shellcheck shell=bash
# Replaces the api without a failed request; nothing of the old one is given up before all of the new one has proven
# itself. Sourced after lib.sh and release.sh. Why in this order: docs/adr/0018-rolling-an-api-without-a-failed-request.md

HEALTHY_SECONDS="${HEALTHY_SECONDS:-90}"
# The edge asks each api once a second whether it is ready, and hears of a draining one within that time.
DRAIN_SECONDS="${DRAIN_SECONDS:-3}"
STOP_SECONDS=35
CANDIDATE=""
OLD=()
NEW=()
OTHERS_TOUCHED=no

# compose_as TAG ARGUMENTS...: Compose with the images of that tag.
compose_as() {
  local BAKEOFF_TAG="$1"
  shift
  export BAKEOFF_TAG
  compose "$@" 9>&-
}

# quietly COMMAND...: its words only where it fails, with what to do where that is known.
quietly() {
  local said
  said="$("$@" 2>&1)" || {
    warn "${said:-$* failed}"
    case "$said" in
      *"port is already allocated"* | *"address already in use"*)
        warn "a port is taken: choose others in $ENV_FILE (API_PORT, UI_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT)." ;;
      *"no space left on device"*) warn "the disk is full: remove old images (docker image prune) or backups." ;;
    esac
    return 1
  }
}

running_apis() { containers_of api --all=false; }

# wait_container NAME: until it is healthy; fails where it ends, starts anew, or takes too long.
wait_container() {
  local deadline=$((SECONDS + HEALTHY_SECONDS)) state=""
  while [ "$SECONDS" -lt "$deadline" ]; do
    state="$(docker inspect -f '{{ .State.Status }} {{ .RestartCount }} {{ .State.Health.Status }}' "$1" 2>/dev/null)" || state="gone"
    case "$state" in
      "running 0 healthy") return 0 ;;
      "running 0 "* | "created 0 "*) ;;
      *)
        warn "the new api does not stay: it is ${state%% *} (exit status $(docker inspect -f '{{ .State.ExitCode }}' "$1" 2>/dev/null))."
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

# --- the candidate: a new api that nobody is sent to ------------------------------------------------------------------

# try_candidate TAG SMOKE-TAG: start it on the stack's network and volumes, and let the other image ask it questions.
try_candidate() {
  CANDIDATE="$COMPOSE_PROJECT_NAME-candidate"
  docker rm -f "$CANDIDATE" >/dev/null 2>&1 || true
  say "Trying bakeoff-api:$1 beside the service ..."
  quietly compose_as "$1" run -d --no-deps --name "$CANDIDATE" api || return 1
  wait_container "$CANDIDATE" || return 1
  smoke_from "$2" "http://$CANDIDATE:5000" || {
    warn "the new api does not answer as it must."
    return 1
  }
  docker stop -t 15 "$CANDIDATE" >/dev/null
  docker rm "$CANDIDATE" >/dev/null
  CANDIDATE=""
}

# smoke_from TAG URL: the smoke test by the image of that tag, from inside the stack; its words only where it fails.
# Not by the image under test: what computes wrong answers must not say which are right.
smoke_from() {
  local said
  said="$(compose_as "$1" run --rm --no-deps -T api python -m app smoke "$2" </dev/null 2>&1)" || {
    printf '%s\n' "$said" | grep -v '^ok  ' | sed 's/^/    /' >&2
    return 1
  }
}

# --- the roll ---------------------------------------------------------------------------------------------------------

# start_beside TAG: as many new apis as there are old ones, all healthy and known to the edge.
start_beside() {
  local id
  mapfile -t OLD < <(running_apis)
  remove_stopped
  say "Starting ${#OLD[@]} new beside ${#OLD[@]} old ..."
  # Not --no-deps: Compose v2 would note the containers as of another making, and the next `up` would replace them.
  quietly compose_as "$1" up -d --no-recreate --no-build --scale "api=$((2 * ${#OLD[@]}))" api || {
    find_new
    return 1
  }
  find_new
  [ "${#NEW[@]}" -eq "${#OLD[@]}" ] || { warn "Compose started ${#NEW[@]} new containers."; return 1; }
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

# What crashed long ago would be started again as an old one.
remove_stopped() {
  local id
  for id in $(containers_of api); do
    [[ " ${OLD[*]} " == *" $id "* ]] || docker rm -f "$id" >/dev/null
  done
}

# wait_for_edge COUNT: until the edge sends requests to that many apis.
wait_for_edge() {
  local deadline=$((SECONDS + 30)) edge up=0
  edge="$(containers_of edge | head -n 1)"
  [ -n "$edge" ] || return 0
  while [ "$SECONDS" -lt "$deadline" ]; do
    up="$(edge_says "$edge")"
    [ "$up" != "$1" ] || return 0
    sleep 0.25
  done
  warn "the edge takes $up apis to be ready, not $1."
  return 1
}

# How many apis the edge sends requests to, by its own metrics; the image has neither curl nor wget.
edge_says() {
  docker exec "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/8404 && printf "GET /metrics HTTP/1.0\r\n\r\n" >&3 && cat <&3' 2>/dev/null |
    grep -c '^haproxy_server_status{proxy="apis",server="api[0-9]*",state="UP"} 1' || true
}

# Compose sets DRAIN_FILE in the container; the api looks at it ten times a second.
drain() { docker exec "$1" sh -c 'touch "$DRAIN_FILE"'; }
undrain() { docker exec "$1" sh -c 'rm -f "$DRAIN_FILE"'; }

# shift_traffic SMOKE-TAG: the old finish what they have; then what the edge answers comes from the new.
shift_traffic() {
  local id
  say "Draining the old ..."
  for id in "${OLD[@]}"; do
    drain "$id" || return 1
  done
  sleep "$DRAIN_SECONDS"
  [ -z "$(containers_of edge)" ] || smoke_from "$1" "http://edge:5000" || {
    warn "the service does not answer as it must through the edge."
    return 1
  }
}

# replace_others TAG: the monitor, the dashboard, and of the rest only what has changed.
replace_others() {
  local service
  say "Replacing the monitor and the dashboard ..."
  OTHERS_TOUCHED=yes
  # The one that trains has nothing to do; left at the old image it would make the next plain `up` replace the api.
  quietly compose_as "$1" up -d --no-deps --no-build train monitor ui || return 1
  for service in edge prometheus alertmanager; do take_in_config "$1" "$service" || return 1; done
  wait_healthy "$HEALTHY_SECONDS"
}

remove_old() {
  say "Stopping the old ..."
  quietly docker stop -t "$STOP_SECONDS" "${OLD[@]}" || true
  quietly docker rm -f "${OLD[@]}" || warn "an old container is still there: docker rm -f ${OLD[*]}"
}

# undo OLD-TAG: as it was before; says which end the new came to.
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

# Until the old are ready again, and the edge knows: what is left of the new may go only then.
wait_ready() {
  local deadline=$((SECONDS + 10)) id
  for id in "$@"; do
    until docker exec "$id" python -I -S docker/healthcheck.py http://127.0.0.1:5000/health/ready >/dev/null 2>&1; do
      [ "$SECONDS" -lt "$deadline" ] || break
      sleep 0.5
    done
  done
  sleep "$DRAIN_SECONDS"
}
