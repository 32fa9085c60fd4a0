#!/usr/bin/env bash
# Installs what Bakeoff needs: the packages beside it, and Docker on the host. Safe to run again.
# run_demo.sh and run_tests.sh call it with --local; a new server's user data with --yes --host-only.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
VENV="$ROOT/.venv"
MINIMUM="3.11"
NEEDED_MB=1500 # the packages unpacked, and their archives while they are unpacked

DEV=no
LOCAL=no
HOST_ONLY=no
YES=no
LOG=""
DONE=() # what was changed on the system, a line each

# shellcheck source=scripts/host_packages.sh
. "$ROOT/scripts/host_packages.sh"
# shellcheck source=scripts/host_docker.sh
. "$ROOT/scripts/host_docker.sh"

usage() {
  cat <<'TEXT'
Usage: ./install.sh [--local | --host-only] [--dev] [--yes]

Makes .venv beside this script and installs the packages of requirements.txt into it, with uv where it is found, else
with pip, and only files whose checksums are in requirements.lock; then installs what is missing of Docker and Compose,
starts Docker, and lets this user use it. A Python that is recent enough is installed where there is none. It asks before
each change to the system, and says what it did. A second run with nothing new to do ends at once.

  --local      only .venv: needs no root and leaves the system alone
  --host-only  only Docker and Compose: for servers, where all else runs in containers
  --dev        also install what tests and lint need (requirements-dev.lock)
  --yes        change the system without asking
  --help       show this text

Amazon Linux, RHEL and kin (dnf, yum), Debian and Ubuntu (apt). Variables:
  PYTHON=/path/to/python       the interpreter (3.11 or later) for a new .venv
  COMPOSE_URL, COMPOSE_SHA256  a copy of the Compose plugin, for where no package has it (Amazon Linux 2023)
  DOCKER_REPO_URL              a copy of Docker's package repository, for RHEL and kin
TEXT
}

say() { printf '%s\n' "$*"; }

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  if [ ${#DONE[@]} -gt 0 ]; then report; fi
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --local) LOCAL=yes ;;
      --host-only) HOST_ONLY=yes ;;
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
  [ "$LOCAL$HOST_ONLY" != yesyes ] || fail "--local and --host-only leave nothing to install: use one of them."
}

open_log() {
  if [ -n "$LOG" ]; then return; fi
  LOG="$ROOT/logs/install.log"
  if ! { mkdir -p "$ROOT/logs" && : >"$LOG"; } 2>/dev/null; then
    fail "the log $LOG cannot be written: is the disk full, or does the folder belong to another user?"
  fi
}

# --- .venv -----------------------------------------------------------------------------------------------------------

# The pins with the checksums of their files, made of the .txt beside it (.ci/locks).
requirements_file() {
  if [ "$DEV" = yes ]; then say "$ROOT/requirements-dev.lock"; else say "$ROOT/requirements.lock"; fi
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
  { (cd "$VENV" && pwd -P) && say "$version" && cat "$(requirements_file)"; } | checksum
}

# Whether .venv works where it lies now: the commands in it hold the path at which it was made.
works_here() {
  is_recent "$VENV/bin/python" && grep -qF "$(cd "$VENV" && pwd -P)" "$VENV/bin/activate" 2>/dev/null
}

is_installed() {
  local stamp
  stamp="$(current_stamp)"
  [ -n "$stamp" ] && [ -f "$(stamp_file)" ] && [ "$stamp" = "$(cat "$(stamp_file)")" ] && [ -x "$VENV/bin/bakeoff" ]
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
  Debian, Ubuntu: sudo apt-get install python3-venv (or ./install.sh, which asks and does it)
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
  if grep -qE 'DO NOT MATCH THE HASHES|Hash mismatch for' "$LOG"; then
    fail "$1: a downloaded file is not the one whose checksum is in ${2##*/}. Nothing of it was installed: look at the package index or mirror that it came from. The whole log: $LOG"
  elif grep -qiE 'no space left|disk quota|enough free space|more space needed' "$LOG"; then
    fail "$1: the disk is full. The whole log: $LOG"
  elif grep -qiE 'name resolution|NewConnectionError|ConnectTimeout|Read timed out|ProxyError|SSLError|dns error|Network is unreachable|Temporary failure resolving|Could not (resolve|connect)|Failed to connect|Connection refused|Curl error|Cannot download' "$LOG"; then
    fail "$1: the package registry or server cannot be reached (network, proxy or certificates). The whole log: $LOG"
  fi
  fail "$1. The whole log: $LOG"
}

install_packages() {
  local file
  file="$(requirements_file)"
  say "Installing the packages of ${file##*/} (a few minutes the first time; log: ${LOG#"$ROOT"/}) ..."
  if has uv && uv pip install --quiet --python "$VENV/bin/python" --require-hashes -r "$file" >>"$LOG" 2>&1; then return; fi
  "$VENV/bin/python" -m pip install --disable-pip-version-check --require-hashes -r "$file" >>"$LOG" 2>&1 ||
    explain_failure "could not install the packages" "$file"
}

# Installs the command `bakeoff` so that it runs the sources beside this script. Needs no network: setuptools is one of
# the packages. A command that works is left alone: where .venv is a link, it belongs to another clone.
install_command() {
  if "$VENV/bin/bakeoff" --version >/dev/null 2>&1; then return; fi
  "$VENV/bin/python" -m pip install --disable-pip-version-check --no-index --no-deps --no-build-isolation \
    --editable "$ROOT" >>"$LOG" 2>&1 || explain_failure "could not install the command bakeoff"
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
  open_log
  make_venv
  install_packages
  install_command
  current_stamp >"$(stamp_file)"
  say "Installed into .venv."
}

# --- all of it -------------------------------------------------------------------------------------------------------

report() {
  local line
  if [ ${#DONE[@]} -eq 0 ]; then
    say "Nothing was changed on this host."
    return
  fi
  say "What was done on this host:"
  for line in "${DONE[@]}"; do say "  - $line"; done
}

install_all() {
  if [ "$HOST_ONLY" = no ]; then
    if [ -z "$(find_python)" ] && ! works_here; then install_python || true; fi
    install_local
  fi
  if install_host; then
    report
    return
  fi
  report
  [ "$YES$HOST_ONLY" = nono ] || fail "Docker and Compose are not ready for use; what is in the way is said above."
  say "Docker and Compose are not ready for use; ./run_demo.sh works without them."
}

main() {
  parse_arguments "$@"
  if [ "$LOCAL" = yes ]; then install_local; else install_all; fi
}

main "$@"
