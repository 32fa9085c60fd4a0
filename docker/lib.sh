# shellcheck shell=bash
# What the scripts of docker/ share: words, and Compose in whichever form this host has it. Sourced by them; the
# caller's name stands before what it says on standard error.

PROJECT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# setting NAME [DEFAULT]: what Compose takes for a variable: the environment's word, else that of .env, else the default.
setting() {
  local value="${!1:-}" file="$PROJECT_ROOT/.env"
  if [ -z "$value" ] && [ -f "$file" ]; then value="$(sed -n "s/^$1=//p" "$file" | tail -n 1)"; fi
  printf '%s\n' "${value:-${2:-}}"
}

COMPOSE_PROJECT_NAME="$(setting COMPOSE_PROJECT_NAME bakeoff)"

say() { printf '%s\n' "$*"; }

warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
  warn "$*"
  exit 1
}

# What was typed makes no sense: the caller's `usage`, why, and exit status 2.
bad_usage() {
  usage >&2
  warn "$*"
  exit 2
}

# Ends with what is wrong where there is no Docker engine, or no Compose.
require_docker() {
  local problem
  problem="$(docker_problem)"
  [ -z "$problem" ] || fail "$problem"
}

# What keeps Docker from being used here, and what to do; empty where nothing does.
docker_problem() {
  local said
  if ! command -v docker >/dev/null 2>&1; then
    say "Docker is not installed: ./install.sh installs it."
  elif ! said="$(docker info 2>&1 >/dev/null)"; then
    case "$said" in
      *"permission denied"*) say "$(id -un) may not use Docker: add this user to the group docker and log in again, or use root." ;;
      *) say "the Docker engine does not answer: start it (sudo systemctl start docker). It said: ${said##*$'\n'}" ;;
    esac
  elif [ -z "$(compose_command)" ]; then
    say "Compose is not installed: ./install.sh installs it."
  fi
}

# `docker compose` where it is there, else `docker-compose`, else nothing. COMPOSE_COMMAND chooses.
compose_command() {
  if [ -n "${COMPOSE_COMMAND:-}" ]; then
    say "$COMPOSE_COMMAND"
  elif docker compose version >/dev/null 2>&1; then
    say "docker compose"
  elif command -v docker-compose >/dev/null 2>&1; then
    say "docker-compose"
  fi
}

# compose ARGUMENTS...: on the project COMPOSE_PROJECT_NAME (bakeoff), from anywhere.
compose() {
  local command
  read -r -a command <<<"$(compose_command)"
  [ "${#command[@]}" -gt 0 ] || fail "Compose is not installed: ./install.sh installs it."
  preset API_CPUS "$(api_cpus)"
  preset API_MEMORY "$(api_memory_mb)m"
  preset PUBLIC_API_URL "http://127.0.0.1:$(setting API_PORT 5000)"
  "${command[@]}" --project-directory "$PROJECT_ROOT" -f "$PROJECT_ROOT/docker-compose.yml" \
    -p "$COMPOSE_PROJECT_NAME" "$@"
}

# preset NAME VALUE: sets a variable that neither the environment nor .env has.
preset() {
  if [ -n "$(setting "$1")" ]; then return; fi
  export "$1=$2"
}

# Docker refuses a limit above what the host has.
api_cpus() {
  local cores
  cores="$(getconf _NPROCESSORS_ONLN 2>/dev/null || say 2)"
  if [ "$cores" -lt 2 ]; then say 1; else say 2; fi
}

# A quarter of the host, so that two apis leave room for the rest during a roll; 576 to 4096 MB.
api_memory_mb() {
  local mb
  mb=$(($(docker info -f '{{ .MemTotal }}' 2>/dev/null || say 0) / 1048576 / 4))
  if [ "$mb" -lt 576 ]; then say 576; elif [ "$mb" -gt 4096 ]; then say 4096; else say "$mb"; fi
}

# containers_of SERVICE [OPTIONS OF docker ps]: the ids of a service's containers, newest first; none is no error.
containers_of() {
  local service="$1"
  shift
  docker ps -aq --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
    --filter "label=com.docker.compose.service=$service" --filter "label=com.docker.compose.oneoff=False" "$@"
}

# Waits until every container of the project is healthy (or runs, where it has no check); at most $1 seconds.
# Says which are not, with the end of their logs.
wait_healthy() {
  local deadline=$((SECONDS + $1)) lagging
  while lagging="$(lagging_containers)" && [ -n "$lagging" ]; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      show_lagging "$lagging"
      return 1
    fi
    sleep 0.5
  done
}

# The containers of the project that are not as they should be, one a line: id, service, state. `train` has to end.
lagging_containers() {
  docker ps -a --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
    --filter "label=com.docker.compose.oneoff=False" \
    --format '{{ .ID }} {{ .Label "com.docker.compose.service" }} {{ .Status }}' |
    grep -vE '^[^ ]+ ([^ ]+ Up .*\(healthy\)|train Exited \(0\).*|[^ ]+ Up [^(]*)$' || true
}

show_lagging() {
  local id service state
  while read -r id service state; do
    warn "$service: $state; the end of its log:"
    docker logs --tail 15 "$id" >&2 2>&1 || true
  done <<<"$1"
}
