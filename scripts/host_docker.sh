# shellcheck shell=bash
# Docker and Compose on this host. Sourced by install.sh, after scripts/host_packages.sh.

# Where no package has Compose (Amazon Linux 2023): the plugin itself, of a version whose checksums are here.
COMPOSE_VERSION=v2.40.3
COMPOSE_RELEASES=https://github.com/docker/compose/releases/download
COMPOSE_SHA256_X86_64=dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372
COMPOSE_SHA256_AARCH64=d26373b19e89160546d15407516cc59f453030d9bc5b43ba7faf16f7b4980137
PLUGINS=/usr/local/lib/docker/cli-plugins
DOCKER_SECONDS=60
FETCHED="" # a folder with what was fetched

has_compose() { docker compose version >/dev/null 2>&1 || has docker-compose; }

refuse_podman() {
  if has docker && [[ "$(docker --version 2>/dev/null)" = *[Pp]odman* ]]; then
    fail "the command docker is Podman's stand-in here, which does not carry this stack: its restarts, DNS and health
  checks differ. Remove the package podman-docker and run this again to install Docker."
  fi
}

# fetch URL FILE: a download that is there as a whole or not at all.
fetch() {
  has curl || fail "curl is missing, which fetches $1: $MANAGER install curl, then run this again."
  curl --fail --silent --show-error --location --retry 3 --connect-timeout 15 --max-time 600 -o "$2" "$1" 2>>"$LOG" ||
    explain_failure "could not fetch $1"
}

# --- the repository of Docker, for RHEL and its kin -------------------------------------------------------------------

docker_repository() {
  case "$(os_field ID)" in
    rhel) say "https://download.docker.com/linux/rhel/docker-ce.repo" ;;
    fedora) say "https://download.docker.com/linux/fedora/docker-ce.repo" ;;
    centos | rocky | almalinux | ol) say "https://download.docker.com/linux/centos/docker-ce.repo" ;;
  esac
}

# Adds it where this system has no Docker package of its own. Status 1 where that is not possible or not wanted.
add_docker_repository() {
  local url="${DOCKER_REPO_URL:-$(docker_repository)}"
  if [ -z "$url" ]; then
    say "$MANAGER knows no package of Docker: see Docker's own instructions for $(os_field PRETTY_NAME)."
    return 1
  fi
  agreed "add Docker's own package repository: $url -> /etc/yum.repos.d/docker-ce.repo" || return 1
  fetch "$url" "$FETCHED/docker-ce.repo"
  grep -q '^\[docker-ce' "$FETCHED/docker-ce.repo" || fail "what $url answers is not a package repository: nothing was changed."
  as_root install -m 644 "$FETCHED/docker-ce.repo" /etc/yum.repos.d/docker-ce.repo
  DONE+=("added the package repository $url")
}

# --- packages --------------------------------------------------------------------------------------------------------

docker_packages() {
  local package
  case "$MANAGER" in
    apt-get) package="$(first_known docker.io docker-ce)" ;;
    *) package="$(first_known docker docker-ce moby-engine)" ;;
  esac
  if [ -z "$package" ]; then return; fi
  say "$package"
  first_known docker-buildx docker-buildx-plugin # later engines build with it; earlier ones have no such package
}

compose_package() { first_known docker-compose-v2 docker-compose-plugin docker-compose; }

missing_packages() {
  has docker || docker_packages
  has_compose || compose_package
}

install_docker_packages() {
  if ! has docker && [ -z "$(docker_packages)" ]; then add_docker_repository || return 1; fi
  local packages
  mapfile -t packages < <(missing_packages)
  [ ${#packages[@]} -eq 0 ] || install_packages_of_system "${packages[@]}"
}

# --- the Compose plugin ----------------------------------------------------------------------------------------------

compose_source() {
  if [ -n "${COMPOSE_URL:-}" ]; then
    [[ "${COMPOSE_SHA256:-}" =~ ^[0-9a-f]{64}$ ]] ||
      fail "COMPOSE_URL is set, so COMPOSE_SHA256 must hold the SHA-256 of what lies there (64 hexadecimal digits)."
    return
  fi
  case "$(uname -m)" in
    x86_64) COMPOSE_SHA256="$COMPOSE_SHA256_X86_64" ;;
    aarch64) COMPOSE_SHA256="$COMPOSE_SHA256_AARCH64" ;;
    *) fail "no Compose is known for this machine ($(uname -m)): set COMPOSE_URL and COMPOSE_SHA256 and run this again." ;;
  esac
  COMPOSE_URL="$COMPOSE_RELEASES/$COMPOSE_VERSION/docker-compose-linux-$(uname -m)"
}

install_compose_plugin() {
  local file="$FETCHED/docker-compose" found
  compose_source
  agreed "install Compose, which no package has: $COMPOSE_URL -> $PLUGINS/docker-compose" || return 1
  fetch "$COMPOSE_URL" "$file"
  found="$(sha256sum "$file")"
  [ "${found%% *}" = "$COMPOSE_SHA256" ] || fail "$COMPOSE_URL is not the file that was meant, and was not installed.
  SHA-256 expected: $COMPOSE_SHA256
  SHA-256 found:    ${found%% *}
  A proxy may have answered in its place; or set COMPOSE_URL and COMPOSE_SHA256 to a copy that you trust."
  put_plugin "$file"
  DONE+=("installed Compose as a plugin of Docker: $PLUGINS/docker-compose")
}

# Under its name it is whole from the first moment. The mode is said outright: user data run with a umask of 077.
put_plugin() {
  local draft="$PLUGINS/.docker-compose.new"
  if ! { as_root install -d -m 755 "${PLUGINS%/*}" "$PLUGINS" && as_root install -m 755 "$1" "$draft" &&
    as_root mv -f "$draft" "$PLUGINS/docker-compose"; } 2>>"$LOG"; then
    as_root rm -f "$draft"
    explain_failure "Compose could not be written to $PLUGINS"
  fi
  docker compose version >/dev/null 2>&1 || {
    as_root rm -f "$PLUGINS/docker-compose"
    fail "the Compose that was fetched does not run on this machine ($(uname -m)), and was removed again."
  }
}

# --- the service -----------------------------------------------------------------------------------------------------

has_systemd() { has systemctl && [ -d /run/systemd/system ]; }

engine_answers() { docker info >/dev/null 2>&1 || { can_be_root && as_root docker info >/dev/null 2>&1; }; }

is_started() { has_systemd && systemctl is-enabled --quiet docker 2>/dev/null && systemctl is-active --quiet docker; }

# Started by another, and not for this user, who cannot change that.
is_anothers() { is_started && ! can_be_root && ! docker info >/dev/null 2>&1; }

# The engine runs now and after a reboot. Status 1 where it does not answer.
start_docker() {
  if is_anothers; then
    say "Docker runs, but this user may not use it and has no sudo; as root: usermod -aG docker $(id -un)"
    return 1
  fi
  if has_systemd && ! is_started; then
    if agreed "start Docker now and at every boot: systemctl enable --now docker"; then
      as_root systemctl enable --now docker >>"$LOG" 2>&1 || explain_failure "Docker was installed and does not start (journalctl -u docker)"
      DONE+=("started Docker, now and at every boot")
    fi
  fi
  local deadline=$((SECONDS + DOCKER_SECONDS))
  until engine_answers; do
    if ! has_systemd || [ "$SECONDS" -ge "$deadline" ]; then
      say "Docker does not answer: start its service (systemctl start docker; its log: journalctl -u docker)."
      return 1
    fi
    sleep 1
  done
}

# Whoever works at this host, where that is not root.
person() {
  if [ "$(id -u)" != 0 ]; then id -un; elif [ "${SUDO_USER:-root}" != root ]; then say "$SUDO_USER"; fi
}

allow_docker() {
  local user
  user="$(person)"
  if [ -z "$user" ] || [[ " $(id -nG "$user") " = *" docker "* ]] || ! can_be_root; then return; fi
  say "A member of the group docker uses Docker without sudo, and can thereby become root on this host."
  agreed "let $user use Docker: usermod -aG docker $user" || return 0
  as_root usermod -aG docker "$user" || fail "$user could not be added to the group docker."
  DONE+=("added $user to the group docker: it counts from the next login on")
}

# --- all of it -------------------------------------------------------------------------------------------------------

install_what_is_missing() {
  find_manager && refresh_lists && install_docker_packages || return 1
  hash -r
  has docker || return 1
  has_compose || install_compose_plugin
}

# Docker and Compose, running. Status 1 where something was not wanted or is not possible, which was said.
install_host() {
  open_log
  refuse_podman
  if has docker && has_compose; then
    say "Docker and Compose are installed."
  else
    say "Missing on this host:$(has docker || printf ' Docker')$(has_compose || printf ' Compose')"
    FETCHED="$(mktemp -d)"
    trap 'rm -rf "$FETCHED"' EXIT
    install_what_is_missing || return 1
  fi
  start_docker && allow_docker
}
