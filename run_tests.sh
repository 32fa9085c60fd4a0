#!/usr/bin/env bash
# From a clone to a test result: install, lint, types, the direction of imports, tests.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
BIN="$ROOT/.venv/bin"

FAST=no
TESTS_ONLY=no
LINT_ONLY=no
WORKERS=(-n auto) # pytest-xdist's; tests/workers.py says how many that are, and in which order they take the files
PYTEST_ARGUMENTS=()
FAILED="" # the checks before the tests that did not pass

usage() {
  cat <<'TEXT'
Usage: ./run_tests.sh [--fast] [--tests-only | --lint-only] [--serial] [pytest's own arguments]

  --fast        leave out the tests that start real servers (marked e2e)
  --tests-only  leave out lint, types and the direction of imports
  --lint-only   leave out the tests
  --serial      one test after the other; so it is, too, where tests are picked by a path, -k or --last-failed
  --help        show this text

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

# pytest's marker expression for what this host can run; says what it leaves out, and why.
choose_marked() {
  MARKED=""
  if [ "$FAST" = yes ]; then leave_out e2e "--fast was given"; fi
  if ! docker info >/dev/null 2>&1; then leave_out docker "no Docker engine answers"; fi
  if ! has chromium && ! has google-chrome; then leave_out browser "no Chromium was found"; fi
  local tool
  for tool in promtool wrk; do
    has "$tool" || say "not here: $tool; the tests that need it are skipped and say so"
  done
}

leave_out() {
  MARKED="${MARKED:+$MARKED and }not $1"
  say "left out: tests marked $1, because $2"
}

run_pytest() {
  say "== tests"
  choose_marked
  "$BIN/python" -m pytest -rs -m "$MARKED" ${WORKERS[@]+"${WORKERS[@]}"} ${PYTEST_ARGUMENTS[@]+"${PYTEST_ARGUMENTS[@]}"}
}

main() {
  parse_arguments "$@"
  cd "$ROOT"
  ./install.sh --local --dev
  if [ "$TESTS_ONLY" = no ]; then lint; fi
  local status=0
  if [ "$LINT_ONLY" = no ]; then run_pytest || status="$?"; fi
  if [ -n "$FAILED" ]; then
    say "Failed before the tests:$FAILED" >&2
    exit 3
  fi
  exit "$status"
}

main "$@"
