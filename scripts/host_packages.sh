# shellcheck shell=bash
# What the system's package manager installs, for all that install.sh needs. Sourced by install.sh, which brings `say`,
# `fail`, `has`, `explain_failure`, `open_log`, YES, LOG and DONE (what was done, a line each).

MANAGER=""       # apt-get, dnf or yum
PACKAGES_MB=1500 # Docker and Compose unpacked, with room for their archives
LOCK_SECONDS=300 # a new cloud host updates itself in the background, and holds apt's lock meanwhile
OS_RELEASE="${OS_RELEASE:-/etc/os-release}"

# A field of os-release (ID, VERSION_ID, PRETTY_NAME); empty where there is none.
os_field() {
  if [ -r "$OS_RELEASE" ]; then awk -F= -v name="$1" '$1 == name { gsub(/"/, "", $2); print $2 }' "$OS_RELEASE"; fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

can_be_root() {
  [ "$(id -u)" = 0 ] || { has sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }
}

# Whether to change the system as described: yes with --yes, else only after a "y" at a terminal.
agreed() {
  say "To $1"
  if [ "$YES" = yes ]; then return 0; fi
  if [ ! -t 0 ]; then
    say "Not done: nobody is there to ask. Run it yourself, or use --yes."
    return 1
  fi
  local answer
  read -r -p "Do this now? [y/N] " answer
  [ "$answer" = y ] || [ "$answer" = Y ]
}

# Finds the package manager and whether it may be used; says what is in the way.
find_manager() {
  local name
  for name in apt-get dnf yum; do
    if has "$name"; then
      MANAGER="$name"
      break
    fi
  done
  if [ -z "$MANAGER" ]; then
    name="$(os_field PRETTY_NAME)"
    say "This system (${name:-unknown}) has neither apt-get, dnf nor yum: install what is missing by its own means."
    return 1
  fi
  if ! can_be_root; then
    say "Installing needs root, and this user ($(id -un)) has no sudo without a password: run this as root."
    return 1
  fi
}

# The whole answer is read: a grep that has seen enough would end the package manager's pipe, which pipefail reports.
knows() {
  case "$MANAGER" in
    apt-get) [ -n "$(apt-cache madison "$1" 2>/dev/null)" ] ;;
    *) [ -n "$("$MANAGER" -q list "$1" 2>/dev/null)" ] ;;
  esac
}

# The first of the given packages that the package manager knows; distributions name things differently.
first_known() {
  local package
  for package in "$@"; do
    if knows "$package"; then
      say "$package"
      return
    fi
  done
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o "DPkg::Lock::Timeout=$LOCK_SECONDS" "$@" >>"$LOG" 2>&1 </dev/null
}

# Updates the package lists: on a new host none has been read yet. apt-get update ends with status 0 even if it reached no
# server, so a package that every system has is looked up to check.
refresh_lists() {
  if [ "$MANAGER" != apt-get ]; then
    "$MANAGER" -q makecache >>"$LOG" 2>&1 </dev/null || explain_failure "$MANAGER could not read its package lists"
  elif ! knows bash; then
    agreed "read the package lists: apt-get update" || return 1
    apt_get update || true
    knows bash || explain_failure "apt-get could not read its package lists"
  fi
}

check_system_disk() {
  local free_mb folder=/var
  free_mb="$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1024) }')"
  [ "$free_mb" -ge "$PACKAGES_MB" ] || fail "not enough disk space: $free_mb MB are free in $folder, about $PACKAGES_MB MB are needed.
  Nothing was installed. Make room (apt-get clean, dnf clean all, docker image prune), or enlarge the volume."
}

# install_packages_of_system PACKAGE...: after asking. Status 1 where the answer is no; ends where it fails.
install_packages_of_system() {
  agreed "install: $MANAGER install -y $*" || return 1
  check_system_disk
  say "Installing $* (log: $LOG) ..."
  if [ "$MANAGER" = apt-get ]; then
    apt_get update || true # one foreign list that fails need not be in the way
    apt_get install -y "$@"
  else
    as_root "$MANAGER" install -y "$@" >>"$LOG" 2>&1 </dev/null
  fi || explain_failure "$MANAGER could not install: $*"
  DONE+=("installed the packages: $*")
}

# --- Python ----------------------------------------------------------------------------------------------------------

python_package() {
  if [ "$MANAGER" = apt-get ]; then
    first_known python3.12-venv python3.11-venv python3.13-venv
  else
    first_known python3.12 python3.11 python3.13
  fi
}

# A Python that is recent enough, beside the system's own, which stays as it is. Status 1 where there is none.
install_python() {
  local package
  open_log
  find_manager && refresh_lists || return 1
  package="$(python_package)"
  if [ -z "$package" ]; then
    say "$MANAGER knows no Python 3.11 or later."
    return 1
  fi
  install_packages_of_system "$package"
}
