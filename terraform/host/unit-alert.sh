#!/usr/bin/env bash
# Run by bakeoff-alert@UNIT.service, which the units of this folder name in OnFailure= and OnSuccess=.
set -euo pipefail

RELEASE=/opt/bakeoff
ALERTMANAGER_PORT="" NOTIFY_WEBHOOK_URL=""
# An alert that nobody posts anew ends at this time. The next run of the unit tells how that went.
LASTS="24 hours"

usage() {
  cat <<'TEXT'
Usage: unit-alert.sh UNIT

Posts the alert UnitFailed to Alertmanager on this host if UNIT.service has failed, and ends it if it has not. Where
Alertmanager does not answer, a failure is posted to NOTIFY_WEBHOOK_URL. It is in the journal in any case.
TEXT
}

# setting NAME [DEFAULT]: a setting of the stack.
setting() {
  local value
  value="$(sed -n "s/^$1=//p" "$RELEASE/.env" 2>/dev/null | tail -n 1)"
  # Without quotes, or the comment behind it, as docker/lib.sh reads it.
  value="${value%$'\r'}"
  value="$(sed -E "s/^\"([^\"]*)\".*/\1/; t; s/^'([^']*)'.*/\1/; t; s/[[:space:]]+(#.*)?\$//" <<<"$value")"
  printf '%s\n' "${value:-${2:-}}"
}

now() { date -u +%FT%TZ; }

# The journal takes the number in front as the line's priority: 3 is err, 5 is notice.
note() { printf '<%s>bakeoff: %s\n' "$1" "$2"; }

# alert UNIT STATUS END: the alert as Alertmanager takes and sends it. Without a beginning it would begin at its end.
alert() {
  printf '{"status": "%s", "labels": {"alertname": "UnitFailed", "severity": "critical", "unit": "%s", "host": "%s"},
 "annotations": {"summary": "%s.service failed on %s.", "runbook": "docs/runbooks.md#unitfailed",
  "description": "systemctl status %s and journalctl -u %s on that host say why."},
 "startsAt": "%s", "endsAt": "%s"}\n' \
    "$2" "$1" "$(uname -n)" "$1" "$(uname -n)" "$1" "$1" "$(now)" "$3"
}

# post URL: posts standard input as JSON. The URL may hold a secret: curl reads it from a file, not from its arguments.
post() {
  curl --fail --silent --show-error --max-time 20 --retry 2 -o /dev/null -H 'Content-Type: application/json' \
    --data-binary @- --config <(printf 'url = "%s"\n' "$1")
}

# In the form that the receiver knows: a text for Slack, Alertmanager's own otherwise.
notification() {
  case "$NOTIFY_WEBHOOK_URL" in
    https://hooks.slack.com/*)
      printf '{"text": "%s.service failed on %s, and Alertmanager does not answer there."}\n' "$1" "$(uname -n)"
      ;;
    *) printf '{"version": "4", "status": "firing", "alerts": [%s]}\n' "$(alert "$1" firing "$2")" ;;
  esac
}

main() {
  local unit="${1:-}" end
  if [[ ! "$unit" =~ ^[a-z][a-z-]*$ ]]; then
    usage >&2
    exit 2
  fi
  ALERTMANAGER_PORT="$(setting ALERTMANAGER_PORT 9093)"
  NOTIFY_WEBHOOK_URL="$(setting NOTIFY_WEBHOOK_URL)"
  if ! systemctl is-failed --quiet "$unit.service"; then
    # Without Alertmanager there is nothing to end.
    printf '[%s]' "$(alert "$unit" resolved "$(now)")" |
      post "http://127.0.0.1:$ALERTMANAGER_PORT/api/v2/alerts" 2>/dev/null || true
    return
  fi
  note 3 "$unit.service failed: see journalctl -u $unit, and docs/runbooks.md#unitfailed."
  end="$(date -u -d "$LASTS" +%FT%TZ)"
  if printf '[%s]' "$(alert "$unit" firing "$end")" | post "http://127.0.0.1:$ALERTMANAGER_PORT/api/v2/alerts"; then
    note 5 "Alertmanager has the alert UnitFailed."
  elif [ -z "$NOTIFY_WEBHOOK_URL" ]; then
    note 3 "Alertmanager does not answer and NOTIFY_WEBHOOK_URL is empty: nobody hears of it but this journal."
  else
    notification "$unit" "$end" | post "$NOTIFY_WEBHOOK_URL" || {
      note 3 "neither Alertmanager nor NOTIFY_WEBHOOK_URL took the alert: nobody hears of it but this journal."
      exit 1
    }
    note 5 "Alertmanager does not answer: NOTIFY_WEBHOOK_URL has the alert."
  fi
}

main "$@"
