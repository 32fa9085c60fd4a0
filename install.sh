#!/usr/bin/env bash
# Installs what Bakeoff needs; run_demo.sh and run_tests.sh call it with --local. Safe to run again.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
VENV="$ROOT/.venv"
MINIMUM="3.11"
NEEDED_MB=1500 # the packages unpacked, and their archives while they are unpacked

DEV=no
LOCAL=no
YES=no
LOG=""

usage() {
  cat <<'TEXT'
Usage: ./install.sh [--local] [--dev] [--yes]

Makes .venv beside this script and installs the packages of requirements.txt into it, with uv where it is found,
else with pip. A second run with nothing new to do ends at once.

  --local   do only that: needs no root and leaves the system alone
  --dev     also install what tests and lint need (requirements-dev.txt)
  --yes     without --local: install Docker and Compose, where they are missing, without asking
  --help    show this text

PYTHON=/path/to/python chooses the interpreter (3.11 or later) for a new .venv.
TEXT
}

say() { printf '%s\n' "$*"; }

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --local) LOCAL=yes ;;
      --dev) DEV=yes ;;
      --yes | -y) YES=yes ;;
      --help | -h)
        usage
        exit 0
        ;;
      *)
        usage >&2
        printf 'install.sh: unknown option: %s\n' "$1" >&2
        exit 2
        ;;
    esac
    shift
  done
}

# --- .venv -----------------------------------------------------------------------------------------------------------

requirements_file() {
  if [ "$DEV" = yes ]; then say "$ROOT/requirements-dev.txt"; else say "$ROOT/requirements.txt"; fi
}

stamp_file() {
  if [ "$DEV" = yes ]; then say "$VENV/.installed-dev"; else say "$VENV/.installed"; fi
}

checksum() {
  if has sha256sum; then sha256sum; else shasum -a 256; fi
}

# What .venv was made from: its place, its interpreter and the pins. Empty where no interpreter in it runs.
current_stamp() {
  local version
  version="$("$VENV/bin/python" -I -S -c 'import sys; print(sys.version)' 2>/dev/null)" || return 0
  { (cd "$VENV" && pwd -P) && say "$version" && cat "$ROOT/requirements.txt" "$(requirements_file)"; } | checksum
}

# Whether .venv works where it lies now: the commands in it hold the path at which it was made.
works_here() {
  is_recent "$VENV/bin/python" && grep -qF "$(cd "$VENV" && pwd -P)" "$VENV/bin/activate" 2>/dev/null
}

is_installed() {
  local stamp
  stamp="$(current_stamp)"
  [ -n "$stamp" ] && [ -f "$(stamp_file)" ] && [ "$stamp" = "$(cat "$(stamp_file)")" ]
}

is_recent() {
  "$1" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

makes_venvs() {
  is_recent "$1" && { has uv || "$1" -I -c 'import venv, ensurepip' >/dev/null 2>&1; }
}

# The first interpreter that can make a .venv; empty where there is none.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.14 python3.13 python3.12 python3.11 python3; do
    if makes_venvs "$candidate"; then
      say "$candidate"
      return
    fi
  done
}

explain_no_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.14 python3.13 python3.12 python3.11 python3; do
    if is_recent "$candidate"; then
      fail "$candidate cannot make virtual environments: its venv module is missing.
  Debian, Ubuntu: sudo apt-get install python3-venv
  or install uv, which needs no venv module; then run this again."
    fi
  done
  fail "no Python $MINIMUM or later was found (looked for python3.14 to python3.11 and python3).
  Debian 12, Ubuntu 24.04: sudo apt-get install python3 python3-venv
  Fedora, Amazon Linux:    sudo dnf install python3.11
  macOS:                   brew install python@3.12
  elsewhere: set PYTHON=/path/to/python3.11 and run this again."
}

check_disk() {
  local free_mb
  free_mb="$(df -Pk "$ROOT" | awk 'NR == 2 { print int($4 / 1024) }')"
  [ "$free_mb" -ge "$NEEDED_MB" ] || fail "not enough disk space: $free_mb MB are free in $ROOT, about $NEEDED_MB MB are needed."
}

make_venv() {
  if works_here; then return; fi
  local python
  python="$(find_python)"
  [ -n "$python" ] || explain_no_python
  say "Making .venv with $("$python" -I --version) ..."
  if has uv && uv venv --quiet --seed --clear --python "$python" "$VENV" >>"$LOG" 2>&1; then return; fi
  "$python" -m venv --clear "$VENV" >>"$LOG" 2>&1 || explain_failure "could not make .venv"
}

# The log's end, with a word on the usual causes.
explain_failure() {
  tail -n 15 "$LOG" >&2
  if grep -qiE 'no space left|disk quota' "$LOG"; then
    fail "$1: the disk is full. The whole log: $LOG"
  elif grep -qiE 'name resolution|NewConnectionError|ConnectTimeout|Read timed out|ProxyError|SSLError|dns error|Network is unreachable' "$LOG"; then
    fail "$1: the package registry cannot be reached (network, proxy or certificates). The whole log: $LOG"
  fi
  fail "$1. The whole log: $LOG"
}

install_packages() {
  local file
  file="$(requirements_file)"
  say "Installing the packages of ${file##*/} (a few minutes the first time; log: ${LOG#"$ROOT"/}) ..."
  if has uv && uv pip install --quiet --python "$VENV/bin/python" -r "$file" >>"$LOG" 2>&1; then return; fi
  "$VENV/bin/python" -m pip install --disable-pip-version-check -r "$file" >>"$LOG" 2>&1 ||
    explain_failure "could not install the packages"
}

# The installer itself is the lock: two runs at once wait for each other, and the lock dies with its holder.
take_turns() {
  if has flock; then
    exec 9<"$ROOT/install.sh"
    flock 9
  fi
}

install_local() {
  if is_installed; then return; fi
  take_turns
  if is_installed; then return; fi
  check_disk
  mkdir -p "$ROOT/logs"
  LOG="$ROOT/logs/install.log"
  : >"$LOG"
  make_venv
  install_packages
  current_stamp >"$(stamp_file)"
  say "Installed into .venv."
}

# --- the host --------------------------------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Whether to run a command on the system: yes with --yes, else only after a "y" at a terminal.
agreed() {
  say "To install: $*"
  if [ "$YES" = yes ]; then return 0; fi
  if [ ! -t 0 ]; then
    say "Not done: nobody is there to ask. Run it yourself, or use --yes."
    return 1
  fi
  local answer
  read -r -p "Run this now? [y/N] " answer
  [ "$answer" = y ] || [ "$answer" = Y ]
}

has_compose() {
  docker compose version >/dev/null 2>&1 || has docker-compose
}

# The first of the given packages that the package manager knows; distributions name Compose differently.
first_known() {
  local query="$1" package
  shift
  for package in "$@"; do
    if $query "$package" 2>/dev/null | grep -q .; then
      say "$package"
      return
    fi
  done
}

apt_packages() {
  has docker || say docker.io
  has_compose || first_known "apt-cache show" docker-compose-v2 docker-compose-plugin docker-compose
}

dnf_packages() {
  has docker || first_known "$1 -q list" docker docker-ce moby-engine
  has_compose || first_known "$1 -q list" docker-compose-plugin docker-compose
}

install_packaged() {
  local manager="$1" packages
  shift
  packages="$("$@" | tr '\n' ' ')"
  packages="${packages% }"
  if [ -z "$packages" ]; then
    say "No package for what is missing is known to $manager: see Docker's own instructions for this system."
    return 1
  fi
  agreed "$manager install -y $packages" || return 1
  # shellcheck disable=SC2086  # several packages, none with a space in its name
  as_root "$manager" install -y $packages
}

start_docker() {
  if docker info >/dev/null 2>&1; then return; fi
  if has systemctl && [ -d /run/systemd/system ]; then
    if agreed "systemctl enable --now docker"; then as_root systemctl enable --now docker; fi
  fi
  docker info >/dev/null 2>&1 ||
    say "Docker does not answer to $(id -un) yet: start its service, and add this user to the group docker or use root."
}

install_host() {
  if has docker && has_compose; then
    say "Docker and Compose are installed."
    start_docker
    return
  fi
  say "Missing on this host:$(has docker || printf ' Docker')$(has_compose || printf ' Compose')"
  if [ "$(id -u)" != 0 ] && ! has sudo; then
    say "Installing it needs root, and sudo is not there: run this as root. Without Docker, ./run_demo.sh works too."
  elif has apt-get; then
    install_packaged apt-get apt_packages && start_docker
  elif has dnf; then
    install_packaged dnf dnf_packages dnf && start_docker
  elif has yum; then
    install_packaged yum dnf_packages yum && start_docker
  else
    say "Neither apt-get, dnf nor yum is here: see Docker's own instructions. Without it, ./run_demo.sh works too."
  fi
}

main() {
  parse_arguments "$@"
  install_local
  if [ "$LOCAL" = yes ] || install_host; then return; fi
  [ "$YES" = no ] || fail "Docker and Compose could not be installed."
  say "Docker was not installed; ./run_demo.sh works without it."
}

main "$@"
