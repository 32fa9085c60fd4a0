#!/usr/bin/env bash
# From a clone to a test result: install, lint, types, the direction of imports, tests.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
BIN="$ROOT/.venv/bin"

FAST=no
TESTS_ONLY=no
LINT_ONLY=no
ALL=no
YES=no
WORKERS=(-n auto) # pytest-xdist's; tests/workers.py says how many that are, and in which order they take the files
PYTEST_ARGUMENTS=()
FAILED="" # the checks before the tests that did not pass
NOT_CHECKED=() # what this run leaves out, a line each, with the way to have it

usage() {
  cat <<'TEXT'
Usage: ./run_tests.sh [--fast] [--tests-only | --lint-only] [--serial] [pytest's own arguments]
       ./run_tests.sh --all [--yes]

  --fast        leave out the tests that start real servers (marked e2e)
  --tests-only  leave out lint, types and the direction of imports
  --lint-only   leave out the tests
  --serial      one test after the other; so it is, too, where tests are picked by a path, -k or --last-failed
  --all         first install what tests and lint need of what Debian or Ubuntu have (not Terraform), then leave nothing
                out (.ci/run). It asks before it changes the system
  --yes         with --all: do not ask
  --help        show this text

What is not on this host is left out; the end of the run lists it, with the way to have it.
All tests are shared out among workers that run side by side (-n NUMBER says how many).
Exit status 0 only if everything passed, 3 if a check before the tests did not. For example: ./run_tests.sh --fast tests/unit -k routing
TEXT
}

say() { printf '%s\n' "$*"; }

has() { command -v "$1" >/dev/null 2>&1; }

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --fast) FAST=yes ;;
      --tests-only) TESTS_ONLY=yes ;;
      --lint-only) LINT_ONLY=yes ;;
      --serial) WORKERS=() ;;
      --all) ALL=yes ;;
      --yes | -y) YES=yes ;;
      --help | -h)
        usage
        exit 0
        ;;
      *)
        if is_for_few "$1"; then WORKERS=(); fi
        PYTEST_ARGUMENTS+=("$1")
        ;;
    esac
    shift
  done
}

# Whether an argument of pytest's picks tests, for which workers would not be worth their start, or says -n itself.
is_for_few() {
  case "$1" in
    -k* | -n* | --numprocesses* | --lf | --last-failed | --pdb) ;;
    *) [ -e "$ROOT/${1%%::*}" ] ;;
  esac
}

# check NAME COMMAND...: runs it and remembers a failure, so that one run shows all that is wrong.
check() {
  local name="$1"
  shift
  say "== $name"
  "$@" || FAILED="$FAILED $name"
}

lint() {
  check "ruff" "$BIN/ruff" check .
  check "format" "$BIN/ruff" format --check .
  check "mypy" "$BIN/mypy"
  check "imports" "$BIN/lint-imports"
  check "shellcheck" "$BIN/shellcheck" -x install.sh run_demo.sh run_tests.sh .ci/run scripts/*.sh
}

# pytest's marker expression for what this host can run; notes what it leaves out, and what tests will skip.
choose_marked() {
  MARKED=""
  if [ "$FAST" = yes ]; then leave_out e2e "tests that start real servers: run without --fast"; fi
  if ! docker info >/dev/null 2>&1; then
    leave_out docker "tests with containers, because no Docker engine answers: ./install.sh, or .ci/engine"
  fi
  if ! has chromium && ! has google-chrome; then
    leave_out browser "tests in a browser: apt-get install chromium"
  fi
  needs promtool "rules of Prometheus" "apt-get install prometheus"
  has_amtool ||
    NOT_CHECKED+=("alerts, for want of amtool 0.26: apt-get install prometheus-alertmanager, then .ci/images tools")
  needs haproxy "the edge proxy without containers" "apt-get install haproxy"
  needs wrk "overload" "apt-get install wrk"
  needs groovy "the Jenkinsfile" ".ci/tools groovy"
  needs node "the workflow and the style of the Jenkinsfile" "apt-get install nodejs npm"
  needs terraform "terraform/" "https://developer.hashicorp.com/terraform/install"
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || has postgres ||
    NOT_CHECKED+=("PostgreSQL: apt-get install postgresql")
}

leave_out() {
  MARKED="${MARKED:+$MARKED and }not $1"
  NOT_CHECKED+=("$2")
}

# needs TOOL WHAT HOW: tests skip what needs the tool.
needs() {
  has "$1" || NOT_CHECKED+=("$2, for want of $1: $3")
}

# Debian 12's is older, and its tests are skipped; `.ci/images tools` unpacks that of Debian 13.
has_amtool() {
  local each
  for each in amtool "${CI_CACHE:-$HOME/.cache/bakeoff-ci}/trixie/root/usr/bin/amtool"; do
    if [[ "$("$each" --version 2>&1)" =~ version\ 0\.([0-9]+) && "${BASH_REMATCH[1]}" -ge 26 ]]; then return; fi
  done
  return 1
}

report_not_checked() {
  local line
  [ "${#NOT_CHECKED[@]}" -gt 0 ] || return 0
  say "== NOT CHECKED here"
  for line in "${NOT_CHECKED[@]}"; do say "  - $line"; done
  say "./run_tests.sh --all installs what Debian or Ubuntu have of it, and runs what that allows."
}

bad_usage() {
  usage >&2
  printf 'run_tests.sh: %s\n' "$*" >&2
  exit 2
}

# CI on this host: it installs, starts a Docker engine if none answers, and runs lint and tests.
run_all() {
  [ "$FAST$TESTS_ONLY$LINT_ONLY${#PYTEST_ARGUMENTS[@]}" = nonono0 ] || bad_usage "--all leaves nothing out: give it alone"
  if [ "$YES" = no ]; then
    say "This installs Debian's packages of the missing tools (apt-get, as root), starts a Docker engine if none answers,"
    say "and keeps images and tools in ${CI_CACHE:-$HOME/.cache/bakeoff-ci} (about 5 GB)."
    [ -t 0 ] || bad_usage "nobody is here to ask: --yes does it without asking"
    local answer
    read -r -p "Go on? [y/N] " answer
    case "$answer" in y | Y | yes) ;; *) say "Nothing was changed." && exit 1 ;; esac
  fi
  exec .ci/run
}

run_pytest() {
  say "== tests"
  choose_marked
  "$BIN/python" -m pytest -rs -m "$MARKED" ${WORKERS[@]+"${WORKERS[@]}"} ${PYTEST_ARGUMENTS[@]+"${PYTEST_ARGUMENTS[@]}"}
}

main() {
  parse_arguments "$@"
  cd "$ROOT"
  if [ "$ALL" = yes ]; then run_all; fi
  ./install.sh --local --dev
  if [ "$TESTS_ONLY" = no ]; then lint; fi
  local status=0
  if [ "$LINT_ONLY" = no ]; then run_pytest || status="$?"; fi
  report_not_checked
  if [ -n "$FAILED" ]; then
    say "Failed before the tests:$FAILED" >&2
    exit 3
  fi
  exit "$status"
}

main "$@"
