# shellcheck shell=bash
# Sends a release to another host over ssh and deploys it there. Sourced by deploy.sh, whose variables it uses.

HOST_FOLDER=/opt/bakeoff
HOST_LEAST_FREE_MB="${HOST_LEAST_FREE_MB:-2000}"
SSH_OPTIONS=()
COMPRESS=yes

HOST_NAME='([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.:-]*'
# Options that can run no command. ssh has others that do: ProxyCommand, LocalCommand, -F with a file that has these, …
SSH_OPTION="-[46C]|-p[0-9]+|-i[^[:cntrl:]]+|-J$HOST_NAME|-o((StrictHostKeyChecking|IdentitiesOnly|LogLevel)=[A-Za-z0-9-]+"
SSH_OPTION+="|(ConnectTimeout|ServerAliveInterval|Port)=[0-9]+|(User|HostKeyAlias)=$HOST_NAME"
SSH_OPTION+="|UserKnownHostsFile=[^[:cntrl:]]+)"

# Rejects a TARGET that ssh could parse as an option, or that a shell could parse as more than a word.
require_host_name() {
  [[ "$TARGET" =~ ^$HOST_NAME$ ]] || bad_usage "'$TARGET' is not a host name"
}

# take_ssh_option OPTION: adds it to ssh's options, or rejects it.
take_ssh_option() {
  [[ "$1" =~ ^($SSH_OPTION)$ ]] ||
    bad_usage "--ssh-option '$1' is not one that is passed on (-4, -6, -C, -pPORT, -iKEY, -J[USER@]HOST, and -o with" \
      "StrictHostKeyChecking, IdentitiesOnly, LogLevel, ConnectTimeout, ServerAliveInterval, Port, User, HostKeyAlias or" \
      "UserKnownHostsFile): put others into ~/.ssh/config of the user who runs this"
  SSH_OPTIONS+=("$1")
}

# quoted WORD...: the words for the shell on the host, each with a space after it. Not by printf's %q: it may write $'…',
# which the sh of a login user does not read.
quoted() {
  local word escaped="'\\''"
  for word; do printf "'%s' " "${word//"'"/$escaped}"; done
}

# on_host COMMAND...: the remote shell joins and parses the words again, so they must contain no unquoted input.
on_host() {
  ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 ${SSH_OPTIONS[@]+"${SSH_OPTIONS[@]}"} -- "$TARGET" "$@"
}

# Runs on the host, as root or with sudo without a password: prints why a deployment is impossible, or nothing.
host_problem() {
  on_host "FOLDER=$HOST_FOLDER LEAST_MB=$HOST_LEAST_FREE_MB bash -s" <<'REMOTE'
set -u
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
as_root true 2>/dev/null || { echo "$(id -un) cannot use sudo without a password on that host"; exit; }
command -v docker >/dev/null || { echo "Docker is not installed on that host: run ./install.sh --host-only there"; exit; }
as_root docker info >/dev/null 2>&1 ||
  { echo "the Docker engine on that host does not answer: start it (systemctl start docker)"; exit; }
as_root docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null ||
  { echo "Compose is not installed on that host: run ./install.sh --host-only there"; exit; }
root="$(as_root docker info -f '{{ .DockerRootDir }}')"
free_mb=$(($(as_root df -Pk "$root" | awk 'NR == 2 { print $4 }') / 1024))
[ "$free_mb" -ge "$LEAST_MB" ] ||
  echo "$free_mb MB are free in $root there, $LEAST_MB are needed: remove old images (docker image prune)"
REMOTE
}

check_host() {
  local problem
  problem="$(host_problem)" || fail "$TARGET cannot be reached by ssh; see above. Try: ssh ${SSH_OPTIONS[*]-} $TARGET true"
  [ -z "$problem" ] || fail "$TARGET: $problem."
}

# send_files FILE...: copies them into the host's folder. Files that differ are overwritten in place, which keeps their
# mounts into containers intact. Unchanged files keep their ctime, which may_be_outdated (configuration.sh) relies on.
send_files() {
  tar -C "$PROJECT_ROOT" --exclude='__pycache__' -cf - "$@" | on_host "FOLDER=$HOST_FOLDER bash -c '
    set -eu
    umask 022
    as_root() { if [ \$(id -u) = 0 ]; then \"\$@\"; else sudo -n \"\$@\"; fi; }
    as_root install -d -m 0755 \$FOLDER
    as_root rm -rf \$FOLDER/.incoming && as_root mkdir \$FOLDER/.incoming
    as_root tar -C \$FOLDER/.incoming --no-same-owner -xf -
    cd \$FOLDER/.incoming
    as_root find . -type d | while read -r path; do as_root mkdir -p \"../\$path\"; done
    as_root find . -type f | while read -r path; do
      as_root cmp -s \"\$path\" \"../\$path\" || as_root cp \"\$path\" \"../\$path\"
    done
    as_root rm -rf \$FOLDER/.incoming
  '" || fail "the files could not be written to $HOST_FOLDER on $TARGET; see above."
}

# Creates the host's .env from the example if there is none, with a random ADMIN_TOKEN that is never shown.
create_host_env() {
  on_host "FOLDER=$HOST_FOLDER bash -s" <<'REMOTE' || fail "$HOST_FOLDER/.env could not be created on $TARGET; see above."
set -eu
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
as_root test ! -f "$FOLDER/.env" || exit 0
token="$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
as_root sh -c 'umask 077; sed "s/^ADMIN_TOKEN=.*/ADMIN_TOKEN=$(cat)/" "$1/.env.example" >"$1/.env"' sh "$FOLDER" <<TOKEN
$token
TOKEN
echo "Created $FOLDER/.env with a random ADMIN_TOKEN. Review its other settings."
REMOTE
}

# The stack's images that are on this machine: our own, and third-party ones, so that the host need not pull them.
images_here() {
  if [ -z "$REGISTRY" ]; then printf '%s\n' "bakeoff-api:$TAG" "bakeoff-ui:$TAG"; fi
  compose_as "$TAG" config 2>/dev/null | sed -n 's/^ *image: *//p' | tr -d "'\"" | grep -v '^bakeoff-' | sort -u |
    while read -r image; do image_id "$image" >/dev/null && say "$image" || true; done
}

# The images that the host lacks, or has with another id under the same name.
images_to_send() {
  local image here there
  there="$(on_host "if [ \$(id -u) = 0 ]; then docker images --no-trunc --format '{{ .ID }} {{ .Repository }}:{{ .Tag }}'; else sudo -n docker images --no-trunc --format '{{ .ID }} {{ .Repository }}:{{ .Tag }}'; fi")"
  for image in $(images_here); do
    here="$(image_id "$image")"
    grep -qxF "$here $image" <<<"$there" || say "$image"
  done
}

send_images() {
  local images packer=(gzip -1)
  mapfile -t images < <(images_to_send)
  if [ "${#images[@]}" -eq 0 ]; then
    say "The host already has all images."
    return
  fi
  say "Sending ${images[*]} ..."
  if [ "$COMPRESS" = no ]; then packer=(cat); fi
  docker save "${images[@]}" | "${packer[@]}" |
    on_host "if [ \$(id -u) = 0 ]; then docker load; else sudo -n docker load; fi" >/dev/null ||
    fail "the images did not arrive on $TARGET; see above (is its disk full?)."
}

# on_host_as_root SCRIPT-AND-OPTIONS...: runs one of our scripts in the host's folder.
on_host_as_root() {
  local prefix="" name
  for name in HEALTHY_SECONDS DRAIN_SECONDS COMPOSE_COMMAND; do
    [ -z "${!name:-}" ] || prefix+=" $(quoted "$name=${!name}")"
  done
  on_host "cd $HOST_FOLDER && if [ \$(id -u) = 0 ]; then env$prefix $*; else sudo -n env$prefix $*; fi"
}

deploy_there() {
  local options=(--tag "$TAG" --smoke "$SMOKE")
  check_host
  if [ "$BACKUP" = no ]; then options+=(--no-backup); fi
  if [ "$BUILD" != there ]; then
    require_docker
    if [ "$BUILD" = here ] && [ "$DRY_RUN" = no ]; then "$PROJECT_ROOT/docker/build.sh" --tag "$TAG"; fi
    [ "$DRY_RUN$BUILD" = yeshere ] || require_images
  fi
  if [ "$DRY_RUN" = yes ]; then
    say "Would deploy bakeoff $TAG to $TARGET, in $HOST_FOLDER. Nothing was changed."
    return
  fi
  send_files docker-compose.yml docker .env.example
  create_host_env
  if [ "$BUILD" = there ]; then
    send_files app .streamlit .dockerignore requirements.lock requirements-boosting.lock training.toml pyproject.toml
    options+=(--build)
  else
    if [ -n "$REGISTRY" ]; then
      push_images "$REGISTRY" "$TAG"
      options+=(--registry "$REGISTRY")
    fi
    send_images
  fi
  say "Deploying on $TARGET ..."
  on_host_as_root docker/deploy.sh local "${options[@]}"
}
