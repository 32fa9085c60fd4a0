#!/bin/sh
# Starts Alertmanager with the receiver that NOTIFY_WEBHOOK_URL asks for. Alertmanager itself reads no environment, and
# its image has busybox only: hence plain sh.
set -eu

HERE="$(cd "$(dirname "$0")" && pwd)"
RUN_DIR="${RUN_DIR:-/tmp}"

usage() {
  cat <<'TEXT'
Usage: start.sh [ALERTMANAGER OPTION...]
       start.sh --print

Keeps in alertmanager.yml (beside this script) the integration that fits NOTIFY_WEBHOOK_URL, writes that to RUN_DIR
(/tmp) together with the address, readable by this user alone, and becomes Alertmanager.

  --print  only show the configuration
  --help   show this text

  NOTIFY_WEBHOOK_URL  where alerts are sent: an address of hooks.slack.com as Slack's messages, any other as
                      Alertmanager's JSON; empty: nobody is told, alerts are shown in the browser only
  RUN_DIR             a folder that can be written (/tmp)
  ALERTMANAGER        the program (/bin/alertmanager)
TEXT
}

fail() {
  printf 'start.sh: %s\n' "$*" >&2
  exit 1
}

# The integration to keep: webhook, slack or none.
integration() {
  case "${NOTIFY_WEBHOOK_URL:-}" in
    '') echo none ;;
    https://hooks.slack.com/*) echo slack ;;
    http://?* | https://?*) echo webhook ;;
    *) fail "NOTIFY_WEBHOOK_URL is not an http or https address; correct it in .env" ;;
  esac
}

# The configuration without the integrations that are not $1.
configuration() {
  for other in webhook slack; do
    [ "$other" = "$1" ] || set -- "$@" -e "/# $other: begin/,/# $other: end/d"
  done
  shift
  sed -e "s|RUN_DIR|$RUN_DIR|" "$@" "$HERE/alertmanager.yml"
}

main() {
  case "${1:-}" in --help | -h) usage && exit 0 ;; esac
  chosen="$(integration)"
  if [ "${1:-}" = --print ]; then
    configuration "$chosen"
    exit 0
  fi
  umask 077
  [ -w "$RUN_DIR" ] || fail "$RUN_DIR cannot be written; mount a tmpfs there, or set RUN_DIR"
  configuration "$chosen" >"$RUN_DIR/alertmanager.yml"
  printf '%s' "${NOTIFY_WEBHOOK_URL:-}" >"$RUN_DIR/notify_url"
  [ "$chosen" != none ] || printf 'start.sh: NOTIFY_WEBHOOK_URL is empty: nobody will be told of alerts\n' >&2
  exec "${ALERTMANAGER:-/bin/alertmanager}" --config.file="$RUN_DIR/alertmanager.yml" "$@"
}

main "$@"
