# shellcheck shell=bash
# Shared by the scripts of docker/, which source it: messages, and Compose in whichever version this host has. Messages
# on standard error begin with the caller's name.

PROJECT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# setting NAME [DEFAULT]: a variable's value as Compose resolves it: from the environment, else from .env, else DEFAULT.
setting() {
  local value="${!1:-}"
  [ -n "$value" ] || value="$(unquoted "$(written "$1")")"
  printf '%s\n' "${value:-${2:-}}"
}

# written NAME: a variable's value as it stands in .env, with its quotes and the comment behind it.
written() {
  [ ! -f "$PROJECT_ROOT/.env" ] || sed -n "s/^$1=//p" "$PROJECT_ROOT/.env" | tail -n 1
}

# A value of .env without its quotes, or without the comment that follows it.
unquoted() {
  local double='^"([^"]*)"[[:space:]]*(#.*)?$' single="^'([^']*)'[[:space:]]*(#.*)?\$" value="${1%$'\r'}"
  if [[ "$value" =~ $double ]] || [[ "$value" =~ $single ]]; then
    printf '%s' "${BASH_REMATCH[1]}"
    return
  fi
  value="${value%%[[:space:]]#*}"
  printf '%s' "${value%"${value##*[![:space:]]}"}"
}

COMPOSE_PROJECT_NAME="$(setting COMPOSE_PROJECT_NAME bakeoff)"

say() { printf '%s\n' "$*"; }

warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
  warn "$*"
  exit 1
}

# Rejects the command line: prints the caller's `usage` and the reason, and exits with status 2.
bad_usage() {
  usage >&2
  warn "$*"
  exit 2
}

# Exits with a message if Docker or Compose cannot be used.
require_docker() {
  local problem
  problem="$(docker_problem)"
  [ -z "$problem" ] || fail "$problem"
}

# Prints why Docker cannot be used here and what to do; prints nothing if it can be used.
docker_problem() {
  local error
  if ! command -v docker >/dev/null 2>&1; then
    say "Docker is not installed: ./install.sh installs it."
  elif ! error="$(docker info 2>&1 >/dev/null)"; then
    case "$error" in
      *"permission denied"*) say "$(id -un) may not use Docker: add this user to the group docker and log in again, or use root." ;;
      *) say "the Docker engine does not answer: start it (sudo systemctl start docker). Its error: ${error##*$'\n'}" ;;
    esac
  elif [ -z "$(compose_command)" ]; then
    say "Compose is not installed: ./install.sh installs it."
  fi
}

# Prints COMPOSE_COMMAND if set, else `docker compose` or `docker-compose`, whichever is installed; else nothing.
compose_command() {
  if [ -n "${COMPOSE_COMMAND:-}" ]; then
    say "$COMPOSE_COMMAND"
  elif docker compose version >/dev/null 2>&1; then
    say "docker compose"
  elif command -v docker-compose >/dev/null 2>&1; then
    say "docker-compose"
  fi
}

# compose ARGUMENTS...: runs Compose on the project COMPOSE_PROJECT_NAME (bakeoff), from any folder.
compose() {
  local command files=(-f "$PROJECT_ROOT/docker-compose.yml")
  read -r -a command <<<"$(compose_command)"
  [ "${#command[@]}" -gt 0 ] || fail "Compose is not installed: ./install.sh installs it."
  # Another name is of the environment, for this call alone, or in .env already.
  if [ "$COMPOSE_PROJECT_NAME" = bakeoff ] && ! grep -qs "^COMPOSE_PROJECT_NAME=." "$PROJECT_ROOT/.env"; then
    keep COMPOSE_PROJECT_NAME bakeoff
  fi
  settle API_CPUS "$(api_cpus)"
  settle API_MEMORY "$(api_memory_mb)m"
  # Given files by name, Compose does not look for this one itself.
  [ ! -f "$PROJECT_ROOT/docker-compose.override.yml" ] || files+=(-f "$PROJECT_ROOT/docker-compose.override.yml")
  "${command[@]}" --project-directory "$PROJECT_ROOT" "${files[@]}" \
    -p "$COMPOSE_PROJECT_NAME" "$@"
}

# settle NAME VALUE: writes a variable to .env that neither the environment nor .env sets. If only these scripts knew it,
# a plain `docker compose up -d monitor` would find the api's configuration changed, and replace the api.
settle() {
  if [ -z "$(setting "$1")" ]; then keep "$1" "$2"; fi
}

# keep NAME VALUE: sets a variable here and in .env.
keep() {
  set_in_env "$1" "$2" 2>/dev/null ||
    warn "$PROJECT_ROOT/.env cannot be written: set $1=$2 there, or a plain docker compose starts containers without it."
  export "$1=$2"
}

# set_in_env NAME VALUE: sets a variable in .env, where it is, below its comment, or at the end; keeps the other lines.
set_in_env() {
  local file="$PROJECT_ROOT/.env"
  {
    if [ -f "$file" ]; then cat "$file"; fi
  } | SET="$1=$2" NAME="$1=" awk '
    index($0, ENVIRON["NAME"]) != 1 { print; next }
    !set++ { print ENVIRON["SET"] }
    END { if (!set) print ENVIRON["SET"] }' | replace_file "$file"
}

# replace_file FILE: replaces its content with standard input atomically. Who could read it, still can; a new one is the
# owner's alone. On a full disk it stays as it is, also where errexit is off.
replace_file() {
  local draft
  draft="$(mktemp "$1.XXXXXX")" || return 1
  cat >"$draft" || {
    rm -f "$draft"
    return 1
  }
  [ ! -f "$1" ] || { chmod --reference="$1" "$draft" && chown --reference="$1" "$draft"; } 2>/dev/null || true
  mv -f "$draft" "$1" || {
    rm -f "$draft"
    return 1
  }
}

# Docker refuses a CPU limit above the number of cores.
api_cpus() {
  local cores
  cores="$(getconf _NPROCESSORS_ONLN 2>/dev/null || say 2)"
  if [ "$cores" -lt 2 ]; then say 1; else say 2; fi
}

# A quarter of the host's memory, 576 to 4096 MB: during a rolling deployment two apis run beside the other services.
api_memory_mb() {
  local mb
  mb=$(($(docker info -f '{{ .MemTotal }}' 2>/dev/null || say 0) / 1048576 / 4))
  if [ "$mb" -lt 576 ]; then say 576; elif [ "$mb" -gt 4096 ]; then say 4096; else say "$mb"; fi
}

# containers_of SERVICE [DOCKER PS OPTION...]: the ids of a service's containers, newest first; empty if there are none.
containers_of() {
  local service="$1"
  shift
  docker ps -aq --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
    --filter "label=com.docker.compose.service=$service" --filter "label=com.docker.compose.oneoff=False" "$@"
}

# Waits at most $1 seconds until every container of the project is healthy (or running, if it has no health check). On a
# timeout, prints the other containers with the end of their logs.
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

# The project's containers that are not ready, one per line: id, service, state. `train` is ready when it has exited.
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
