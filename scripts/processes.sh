# shellcheck shell=bash
# Starting, watching and stopping processes by their ids, and who listens on a port. Sourced by run_demo.sh, which
# brings `say`, `warn`, PYTHON and LOGS.

STOP_SECONDS=35

NAMES=() # the parts that were started, in order, and their process ids ("" once one was seen to have ended)
PIDS=()  # each leads its own process group
TASK=""  # the process that `run` waits for
HURRY=no # whether a second signal came while stopping

# start NAME COMMAND...: in its own process group, so that a Ctrl-C reaches it only through stop_all, in order.
start() {
  local name="$1"
  shift
  set -m
  "$@" </dev/null >"$LOGS/$name.log" 2>&1 &
  set +m
  NAMES+=("$name")
  PIDS+=("$!")
}

# run COMMAND...: its status, as if called plainly; but a signal to this script is acted upon at once.
run() {
  local status=0
  set -m
  "$@" </dev/null &
  TASK="$!"
  set +m
  wait "$TASK" || status="$?"
  TASK=""
  return "$status"
}

is_alive() { kill -0 "$1" 2>/dev/null; }

is_running() {
  local index
  for index in "${!NAMES[@]}"; do
    if [ "${NAMES[$index]}" = "$1" ]; then is_alive "${PIDS[$index]:-none}" && return 0; fi
  done
  return 1
}

# Asks with SIGTERM, waits, and ends what is left of the process group.
stop_part() {
  local name="$1" pid="$2" ticks=$((STOP_SECONDS * 10))
  kill -TERM "$pid" 2>/dev/null || true
  while is_alive "$pid" && [ "$ticks" -gt 0 ] && [ "$HURRY" = no ]; do
    sleep 0.1
    ticks=$((ticks - 1))
  done
  if is_alive "$pid"; then warn "$name did not stop in time and was killed"; fi
  kill -KILL -- "-$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

# Stops all that was started, the last first; a second signal makes it quick.
stop_all() {
  local index
  trap 'HURRY=yes' INT TERM
  trap '' HUP
  if [ -n "$TASK" ]; then stop_part "the running step" "$TASK"; fi
  if [ "${#PIDS[@]}" -gt 0 ]; then say "Stopping ..."; fi
  for ((index = ${#PIDS[@]} - 1; index >= 0; index--)); do
    if [ -n "${PIDS[$index]}" ]; then stop_part "${NAMES[$index]}" "${PIDS[$index]}"; fi
  done
}

port_is_free() {
  "$PYTHON" -I - "$1" "$2" <<'PY' 2>/dev/null
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
with socket.socket(family) as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
PY
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

# The status of a GET, or "none" where nobody answers. Never through a proxy: it asks this host.
http_status() {
  "$PYTHON" -I - "$1" <<'PY'
import sys, urllib.error, urllib.request
try:
    print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=5).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print("none")
PY
}
