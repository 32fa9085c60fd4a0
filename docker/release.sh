# shellcheck shell=bash
# Which release runs, and which ran before: kept beside docker-compose.yml in .release. Sourced after lib.sh.

RELEASE_FILE="$PROJECT_ROOT/.release"
ENV_FILE="$PROJECT_ROOT/.env"

# recorded NAME: a value of .release; nothing where there is none.
recorded() { sed -n "s/^$1=//p" "$RELEASE_FILE" 2>/dev/null | head -n 1; }

# replace_file FILE: standard input becomes its content, as a whole, for its owner alone.
replace_file() {
  local draft
  draft="$(mktemp "$1.XXXXXX")"
  cat >"$draft"
  mv -f "$draft" "$1"
}

# set_in_env NAME VALUE: a line of .env, whose other lines stay.
set_in_env() {
  {
    [ ! -f "$ENV_FILE" ] || grep -v "^$1=" "$ENV_FILE" || true
    printf '%s=%s\n' "$1" "$2"
  } | replace_file "$ENV_FILE"
}

# The tag that a plain `compose up` would take.
configured_tag() { setting BAKEOFF_TAG local; }

image_id() { docker image inspect -f '{{ .Id }}' "$1" 2>/dev/null; }

# running_image SERVICE: the id of the image that its first container runs.
running_image() {
  local container
  container="$(containers_of "$1" | head -n 1)"
  [ -z "$container" ] || docker inspect -f '{{ .Image }}' "$container"
}

# running_tag SERVICE: the tag under which its first container was started.
running_tag() {
  local container image
  container="$(containers_of "$1" | head -n 1)"
  image="$(docker inspect -f '{{ .Config.Image }}' "$container")"
  say "${image##*:}"
}

# tag_of_images TAG API-ID UI-ID: a tag that stands for these very images: TAG, or where it was given to newer ones
# since, one of its own.
tag_of_images() {
  if [ "$(image_id "bakeoff-api:$1")" = "$2" ] && [ "$(image_id "bakeoff-ui:$1")" = "$3" ]; then
    say "$1"
    return
  fi
  local own="was-${2#sha256:}"
  own="${own:0:16}"
  { docker tag "$2" "bakeoff-api:$own" && docker tag "$3" "bakeoff-ui:$own"; } >/dev/null 2>&1 || return 1
  say "$own"
}

# record_release TAG OLD-TAG OLD-API-ID OLD-UI-ID: what runs from now on, and what did before.
record_release() {
  local service
  set_in_env BAKEOFF_TAG "$1"
  {
    say "# Written by docker/deploy.sh; docker/rollback.sh goes back to PREVIOUS."
    say "TAG=$1"
    say "PREVIOUS_TAG=$2"
    say "PREVIOUS_API=$3"
    say "PREVIOUS_UI=$4"
    for service in edge prometheus alertmanager; do say "CONFIG_$service=$(config_sum "$service")"; done
  } | replace_file "$RELEASE_FILE"
}

# config_sum SERVICE: a checksum over its definition, the settings in it, and the files that are mounted into it. Not
# Compose's own, which differs from one Compose to the other.
config_sum() {
  local files="docker/$1" definition variable
  if [ "$1" = edge ]; then files=docker/haproxy.cfg; fi
  definition="$(awk -v start="  $1:" '/^[^ ]/ || /^  [^ ]/ { on = $0 == start || /^x-service:/ } on && !/^ *#/' "$PROJECT_ROOT/docker-compose.yml")"
  {
    printf '%s\n' "$definition"
    # shellcheck disable=SC2016  # it looks for dollar signs
    for variable in $(grep -o '${[A-Z_]*' <<<"$definition" | tr -d '${' | sort -u); do
      say "$variable=$(setting "$variable")"
    done
    (cd "$PROJECT_ROOT" && find "$files" -type f | LC_ALL=C sort | tr '\n' '\0' | xargs -0 -r sha256sum)
  } | sha256sum | cut -c 1-16
}

# One deployment at a time; the lock goes with this process.
take_turn() {
  command -v flock >/dev/null 2>&1 || return 0
  exec 9>"$PROJECT_ROOT/.deploy.lock" || fail "cannot write to $PROJECT_ROOT: run this as its owner."
  flock -n 9 || fail "another deployment is at work in $PROJECT_ROOT: wait for its end."
}
