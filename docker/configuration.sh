# shellcheck shell=bash
# Whether what stands around the api (edge, Prometheus, Alertmanager) runs with the configuration of now; and replacing it
# where not. Sourced after lib.sh, release.sh and roll.sh.

# Its files, or the folder of them.
config_files() {
  if [ "$1" = edge ]; then say docker/haproxy.cfg; else say "docker/$1"; fi
}

# config_sum SERVICE: a checksum over its definition, the settings in it, and the files that are mounted into it. Not
# Compose's own, which differs from one Compose to the other.
config_sum() {
  local definition variable
  definition="$(awk -v start="  $1:" '/^[^ ]/ || /^  [^ ]/ { on = $0 == start || /^x-service:/ } on && !/^ *#/' "$PROJECT_ROOT/docker-compose.yml")"
  {
    printf '%s\n' "$definition"
    # shellcheck disable=SC2016  # it looks for dollar signs
    for variable in $(grep -o '${[A-Z_]*' <<<"$definition" | tr -d '${' | sort -u); do
      say "$variable=$(setting "$variable")"
    done
    (cd "$PROJECT_ROOT" && find "$(config_files "$1")" -type f | LC_ALL=C sort | tr '\n' '\0' | xargs -0 -r sha256sum)
  } | sha256sum | cut -c 1-16
}

# take_in_config TAG SERVICE: replaces it where its definition or its files are others than those it was started with.
take_in_config() {
  local why
  why="$(config_change "$1" "$2")"
  [ -n "$why" ] || return 0
  [ "$2" != edge ] || say "$why: it is replaced, and refuses connections for about a second."
  quietly compose_as "$1" up -d --no-deps --no-build --force-recreate "$2"
}

# config_change TAG SERVICE: why it has to be replaced; nothing where it need not.
config_change() {
  local known
  known="$(recorded "CONFIG_$2")"
  if [ -n "$known" ]; then
    [ "$known" = "$(config_sum "$2")" ] || say "The configuration of $2 has changed"
  elif started_otherwise "$1" "$2"; then
    say "$2 was not started by a deployment, and its configuration has changed since, or may have"
  fi
}

# started_otherwise TAG SERVICE: for what no deployment has recorded. Whether Compose made its container of another
# definition, as Compose's own checksum says (another Compose's never agrees), or a file of it is newer than its start.
started_otherwise() {
  local container started made_of
  container="$(containers_of "$2" | head -n 1)"
  [ -n "$container" ] || return 1
  made_of="$(docker inspect -f '{{ index .Config.Labels "com.docker.compose.config-hash" }}' "$container")"
  [ "$(compose_as "$1" config --hash "$2" | awk '{ print $NF }')" = "$made_of" ] || return 0
  started="$(docker inspect -f '{{ .State.StartedAt }}' "$container")"
  # When it was written here, not when it was made: the latter may be older than what it replaced.
  [ -n "$(cd "$PROJECT_ROOT" && find "$(config_files "$2")" -newerct "$started" -print -quit)" ]
}
