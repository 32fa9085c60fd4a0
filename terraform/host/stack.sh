#!/usr/bin/env bash
# Run by bakeoff.service: starts or stops the stack in /opt/bakeoff.
set -euo pipefail

RELEASE=/opt/bakeoff
DRAIN_SECONDS=35

usage() { printf 'Usage: stack.sh up|stop\n'; }

main() {
  cd "$RELEASE"
  # shellcheck source=/dev/null
  . docker/lib.sh
  case "${1:-}" in
    up) compose up -d ;;
    stop) compose stop -t "$DRAIN_SECONDS" ;;
    --help) usage ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
}

main "$@"
