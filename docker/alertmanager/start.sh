#!/bin/sh
# Starts Alertmanager with the receiver that NOTIFY_WEBHOOK_URL selects. Alertmanager reads no environment variables.
# Its image has busybox only, hence POSIX sh.
set -eu

HERE="$(cd "$(dirname "$0")" && pwd)"
RUN_DIR="${RUN_DIR:-/tmp}"

usage() {
  cat <<'TEXT'
Usage: start.sh [ALERTMANAGER OPTION...]
       start.sh --print

Writes a copy of alertmanager.yml with the integrations that match NOTIFY_WEBHOOK_URL and HEARTBEAT_URL to RUN_DIR, and
the URLs to files beside it. Only the current user can read them. Then runs Alertmanager.

  --print  print the configuration and exit
  --help   show this text

  NOTIFY_WEBHOOK_URL  where alerts are sent: a hooks.slack.com URL gets Slack messages, any other URL gets
                      Alertmanager's JSON. Empty: alerts are shown in the browser only and sent to nobody
  HEARTBEAT_URL       where a heartbeat is posted once a minute, for a service outside that tells people when it stops.
                      Empty: none
  RUN_DIR             a writable folder (default: /tmp)
  ALERTMANAGER        the program to run (default: /bin/alertmanager)
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
    *) fail "NOTIFY_WEBHOOK_URL is not an http:// or https:// URL: correct it in .env" ;;
  esac
}

# heartbeat if its address is set, else none.
heartbeat() {
  case "${HEARTBEAT_URL:-}" in
    '') echo none ;;
    http://?* | https://?*) echo heartbeat ;;
    *) fail "HEARTBEAT_URL is not an http:// or https:// URL: correct it in .env" ;;
  esac
}

# Prints the configuration without the integrations other than $1 and, for the heartbeat, $2.
configuration() {
  for other in webhook slack heartbeat; do
    [ "$other" = "$1" ] || [ "$other" = "$2" ] || set -- "$@" -e "/# $other: begin/,/# $other: end/d"
  done
  shift
  shift
  sed -e "s|RUN_DIR|$RUN_DIR|" "$@" "$HERE/alertmanager.yml"
}

main() {
  case "${1:-}" in --help | -h) usage && exit 0 ;; esac
  chosen="$(integration)"
  beat="$(heartbeat)"
  if [ "${1:-}" = --print ]; then
    configuration "$chosen" "$beat"
    exit 0
  fi
  umask 077
  [ -w "$RUN_DIR" ] || fail "$RUN_DIR is not writable: mount a tmpfs there, or set RUN_DIR to a writable folder"
  configuration "$chosen" "$beat" >"$RUN_DIR/alertmanager.yml"
  printf '%s' "${NOTIFY_WEBHOOK_URL:-}" >"$RUN_DIR/notify_url"
  printf '%s' "${HEARTBEAT_URL:-}" >"$RUN_DIR/heartbeat_url"
  [ "$chosen" != none ] || printf 'start.sh: NOTIFY_WEBHOOK_URL is empty: alerts are not sent to anyone\n' >&2
  exec "${ALERTMANAGER:-/bin/alertmanager}" --config.file="$RUN_DIR/alertmanager.yml" "$@"
}

main "$@"
