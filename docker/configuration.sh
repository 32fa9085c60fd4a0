# shellcheck shell=bash
# Replaces the edge proxy, Prometheus and Alertmanager where they run with an outdated configuration. Sourced after
# lib.sh, release.sh and roll.sh.

# config_files SERVICE: its configuration file, or the folder that holds its files.
config_files() {
  if [ "$1" = edge ]; then say docker/haproxy.cfg; else say "docker/$1"; fi
}

# config_sum SERVICE: a checksum over its definition, all of docker-compose.override.yml (whose form we do not know), the
# settings in both, and the files mounted into it. Compose has its own, but versions of Compose compute it differently.
config_sum() {
  local definition variable override="$PROJECT_ROOT/docker-compose.override.yml"
  definition="$(awk -v start="  $1:" '/^[^ ]/ || /^  [^ ]/ { on = $0 == start || /^x-service:/ } on && !/^ *#/' \
    "$PROJECT_ROOT/docker-compose.yml")"
  [ ! -f "$override" ] || definition+="$(cat "$override")"
  {
    printf '%s\n' "$definition"
    # shellcheck disable=SC2016  # searches for literal dollar signs
    for variable in $(grep -o '${[A-Z_]*' <<<"$definition" | tr -d '${' | sort -u); do
      say "$variable=${!variable:-$(written "$variable")}"
    done
    (cd "$PROJECT_ROOT" && find "$(config_files "$1")" -type f | LC_ALL=C sort | tr '\n' '\0' | xargs -0 -r sha256sum)
  } | sha256sum | cut -c 1-16
}

# update_config TAG SERVICE: replaces the container if the service's definition or files changed since it was started.
update_config() {
  local reason
  reason="$(config_change "$1" "$2")"
  [ -n "$reason" ] || return 0
  [ "$2" != edge ] || say "$reason. Replacing it; it refuses connections for about a second."
  quietly compose_as "$1" up -d --no-deps --no-build --force-recreate "$2"
}

# check_edge TAG: whether the edge proxy would start, if it is to be replaced, and whether every service can have its
# ports. Asked before anything is changed: a proxy that does not start leaves nobody to answer.
check_edge() {
  check_proxy "$1" && check_ports "$1"
}

check_proxy() {
  local output certificate
  [ -n "$(config_change "$1" edge)" ] || return 0
  certificate="$(setting TLS_CERT_FILE /dev/null)"
  # Not left to Compose: some versions make a folder where the file is missing.
  (cd "$PROJECT_ROOT" && [ -e "$certificate" ] && [ ! -d "$certificate" ]) || {
    warn "TLS_CERT_FILE=$certificate is not a file: the edge proxy would not start with it."
    return 1
  }
  output="$(compose_as "$1" run --rm --no-deps -T edge haproxy -c -f /usr/local/etc/haproxy/haproxy.cfg </dev/null 2>&1)" || {
    warn "the edge proxy would not start with these settings:"
    printf '%s\n' "$output" | grep -v '^\[NOTICE\]' | sed 's/^/    /' >&2 || true
    case "$output" in
      *edge.pem* | *"SSL certificate"*)
        warn "TLS_CERT_FILE=$(setting TLS_CERT_FILE) must name a file with the certificate, its chain and its key, which the" \
          "user 99 can read: chown 99 FILE && chmod 400 FILE" ;;
    esac
    return 1
  }
}

# check_ports TAG: whether the services that run can have the ports that they do not have yet.
check_ports() {
  local service address held operations
  operations="$(setting OPERATIONS_BIND 127.0.0.1)"
  while read -r service address; do
    [ -n "$address" ] && [ -n "$(containers_of "$service")" ] || continue
    held=" $(docker port "$(containers_of "$service" | head -n 1)" | sed 's/.*://' | tr '\n' ' ') "
    [[ "$held" != *" ${address##*:} "* ]] || continue
    # In a container of the edge proxy's image, whatever service the port is of.
    quietly compose_as "$1" run --rm --no-deps -T -p "$address:5080" edge true </dev/null || return 1
  done <<ADDRESSES
edge $(setting BIND 127.0.0.1):$(setting API_PORT 5000)
edge $(setting ADMIN_BIND)
edge $(setting TLS_BIND)
ui $(setting UI_BIND 127.0.0.1):$(setting UI_PORT 8501)
prometheus $operations:$(setting PROMETHEUS_PORT 9090)
alertmanager $operations:$(setting ALERTMANAGER_PORT 9093)
ADDRESSES
}

# config_change TAG SERVICE: prints why the container must be replaced; prints nothing if it need not be.
config_change() {
  local known
  known="$(recorded "CONFIG_$2")"
  if [ -n "$known" ]; then
    [ "$known" = "$(config_sum "$2")" ] || say "The configuration of $2 has changed"
  elif may_be_outdated "$1" "$2"; then
    say "$2 was not started by a deployment, and its configuration has changed or may have changed since"
  fi
}

# may_be_outdated TAG SERVICE: for a service without a recorded checksum. True if Compose's own checksum says that the
# container has another definition (it never matches across versions of Compose), or if a file of the service is newer
# than the container's start.
may_be_outdated() {
  local container started config_hash
  container="$(containers_of "$2" | head -n 1)"
  [ -n "$container" ] || return 1
  config_hash="$(docker inspect -f '{{ index .Config.Labels "com.docker.compose.config-hash" }}' "$container")"
  [ "$(compose_as "$1" config --hash "$2" | awk '{ print $NF }')" = "$config_hash" ] || return 0
  started="$(docker inspect -f '{{ .State.StartedAt }}' "$container")"
  # The ctime, not the mtime: a file copied here may have an older mtime than the file that it replaced.
  [ -n "$(cd "$PROJECT_ROOT" && find "$(config_files "$2")" -newerct "$started" -print -quit)" ]
}
