#!/usr/bin/env bash
# Runs a script of docker/ on the host where the stack runs, in the version that deploy.sh installed there.
set -euo pipefail

# shellcheck source=docker/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=docker/ship.sh
source "$(dirname "${BASH_SOURCE[0]}")/ship.sh"

TARGET=""
COMMAND=()

usage() {
  cat <<'TEXT'
Usage: docker/on_host.sh local|[USER@]HOST [--ssh-option OPT]... SCRIPT [ARGUMENT]...

Runs docker/SCRIPT on the host of the stack: here, or over ssh in /opt/bakeoff as root. Output and exit status are
SCRIPT's. For example: docker/on_host.sh deploy@web1 smoke.sh edge

  --ssh-option OPT   an option for ssh, such as -p2222 or -iKEY; may be repeated
  --help             show this text
TEXT
}

parse_arguments() {
  while [ $# -gt 0 ] && [ "${#COMMAND[@]}" -eq 0 ]; do
    case "$1" in
      --ssh-option)
        [ $# -ge 2 ] || bad_usage "--ssh-option needs a value"
        take_ssh_option "$2"
        shift
        ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*) bad_usage "unknown option: $1" ;;
      *)
        if [ -z "$TARGET" ]; then TARGET="$1"; else COMMAND=("$@"); fi
        ;;
    esac
    shift
  done
  [ "${#COMMAND[@]}" -gt 0 ] || bad_usage "give a host and a script"
  require_host_name
  [[ "${COMMAND[0]}" =~ ^[a-z_]+\.sh$ && -f "$PROJECT_ROOT/docker/${COMMAND[0]}" ]] ||
    bad_usage "docker/ has no script named '${COMMAND[0]}'"
}

main() {
  parse_arguments "$@"
  if [ "$TARGET" = local ]; then exec "$PROJECT_ROOT/docker/${COMMAND[0]}" "${COMMAND[@]:1}"; fi
  # Quoted, because on_host_as_root joins the words and the remote shell parses them again.
  on_host_as_root "$(quoted "docker/${COMMAND[0]}" "${COMMAND[@]:1}")"
}

main "$@"
