#!/usr/bin/env bash
# Sets up the stack on a host from the release in /opt/bakeoff and the settings in /etc/bakeoff. Safe to run again.
set -euo pipefail
umask 077

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
RELEASE="$(cd "$HERE/../.." && pwd)"
CONFIG=/etc/bakeoff
UNITS=/etc/systemd/system
PROGRAMS=/usr/local/lib/bakeoff
HEALTHY_SECONDS=300

REGION="" IMAGE_REGISTRY="" BAKEOFF_TAG="" API_PORT="" UI_PORT="" ADMIN_PORT="5001" UI_OPEN="" SSH_LOGIN="" LOG_GROUP="" BACKUP_TIME=""
ALARMS="no" SHIP_LOGS="yes"
COMPOSE_URL="" COMPOSE_SHA256=""

say() { printf 'bakeoff: %s\n' "$*"; }

fail() {
  printf 'bakeoff: %s\n' "$*" >&2
  exit 1
}

usage() {
  cat <<'TEXT'
Usage: terraform/host/setup.sh

Sets up the host for the stack: the data volume, Docker, .env, images, and the systemd units bakeoff.service (starts the
stack at each boot), bakeoff-backup.timer (uploads a backup to the bucket each night) and bakeoff-restore-drill.timer
(restores the newest one each month to try it). Then starts the stack, waits until the API answers, and makes the first backup. The
user data of terraform/ runs it at the first boot. Its settings are in /etc/bakeoff: host.conf, stack.env and
secrets.conf.
TEXT
}

read_config() {
  [ "$(id -u)" = 0 ] || fail "this needs root: sudo $0"
  [ -r "$CONFIG/host.conf" ] || fail "$CONFIG/host.conf is missing; the user data writes it at the first boot. See terraform/README.md."
  # shellcheck source=/dev/null
  . "$CONFIG/host.conf"
}

# Prometheus and other containers run as different users and must be able to read the configuration. If a release was
# packed without its folders, tar creates them with our umask.
make_configuration_readable() { find "$RELEASE/docker" ! -perm -044 -exec chmod go+rX {} +; }

# Everything that outlives the host is on the data volume, the release of an earlier host too: it goes on from there.
use_data_volume() {
  "$HERE/data-volume.sh" || fail "the data volume cannot be used; see above."
  if [ "${ON_DATA_VOLUME:-}" != yes ] && mountpoint -q "$RELEASE"; then
    ON_DATA_VOLUME=yes exec "$RELEASE/terraform/host/setup.sh"
  fi
}

install_docker() {
  local options=()
  if [ -n "$COMPOSE_URL" ]; then options=(COMPOSE_URL="$COMPOSE_URL" COMPOSE_SHA256="$COMPOSE_SHA256"); fi
  env "${options[@]}" "$RELEASE/install.sh" --yes --host-only || fail "Docker could not be installed; see above."
}

# --- .env ------------------------------------------------------------------------------------------------------------

make_token() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# Prints NAME=value lines of the secret settings. Their values are stored in .env only.
read_secrets() {
  local name parameter value
  while IFS='=' read -r name parameter; do
    [ -n "$name" ] || continue
    value="$(aws ssm get-parameter --region "$REGION" --name "$parameter" --with-decryption --query Parameter.Value \
      --output text)" || fail "the parameter $parameter for $name could not be read: does it exist in $REGION?"
    case "$value" in
      *[!A-Za-z0-9._,:/@%+=~-]*) fail "the parameter $parameter contains a character that .env does not allow: use letters, digits and . _ , : / @ % + = ~ -" ;;
    esac
    printf '%s=%s\n' "$name" "$value"
  done <"$CONFIG/secrets.conf"
}

write_env() {
  if [ -f "$RELEASE/.env" ]; then return; fi
  local draft="$RELEASE/.env.new" secrets ui_bind=127.0.0.1
  if [ "$UI_OPEN" = yes ]; then ui_bind=0.0.0.0; fi
  secrets="$(read_secrets)"
  {
    printf '# Written at the first boot; docker/deploy.sh changes BAKEOFF_TAG. The security group restricts access.\n'
    printf 'BIND=0.0.0.0\nUI_BIND=%s\nOPERATIONS_BIND=127.0.0.1\n' "$ui_bind"
    printf 'API_PORT=%s\nUI_PORT=%s\nBAKEOFF_TAG=%s\n' "$API_PORT" "$UI_PORT" "$BAKEOFF_TAG"
    printf 'ADMIN_BIND=127.0.0.1:%s\n' "$ADMIN_PORT"
    cat "$CONFIG/stack.env"
    [ -z "$secrets" ] || printf '%s\n' "$secrets"
    grep -q '^ADMIN_TOKEN=' "$CONFIG/secrets.conf" || printf 'ADMIN_TOKEN=%s\n' "$(make_token)"
  } >"$draft"
  chmod 600 "$draft"
  mv "$draft" "$RELEASE/.env"
  say "wrote $RELEASE/.env (mode 600; it contains the administrative token)."
}

# Lets the image's login user deploy. It can use sudo anyway.
allow_deploys() {
  [ "$SSH_LOGIN" = yes ] || return 0
  local user
  for user in ec2-user admin ubuntu; do
    if id "$user" >/dev/null 2>&1; then
      usermod -aG docker "$user"
      chown -R "$user" "$RELEASE"
      return
    fi
  done
}

# --- images ----------------------------------------------------------------------------------------------------------

have_image() { docker image inspect "$1:$BAKEOFF_TAG" >/dev/null 2>&1; }

pull_images() {
  local image host="${IMAGE_REGISTRY%%/*}"
  aws ecr get-login-password --region "$(printf '%s' "$host" | cut -d. -f4)" |
    docker login --username AWS --password-stdin "$host" >/dev/null 2>&1 ||
    fail "could not log in to $host: does the host's role allow pulling from it?"
  for image in bakeoff-api bakeoff-ui; do
    docker pull --quiet "$IMAGE_REGISTRY/$image:$BAKEOFF_TAG" || fail "$IMAGE_REGISTRY/$image:$BAKEOFF_TAG could not be pulled."
    docker tag "$IMAGE_REGISTRY/$image:$BAKEOFF_TAG" "$image:$BAKEOFF_TAG"
  done
  docker logout "$host" >/dev/null
}

# A deployment changes the tag in .env.
get_images() {
  BAKEOFF_TAG="$(sed -n 's/^BAKEOFF_TAG=//p' "$RELEASE/.env" | tail -n 1)"
  if have_image bakeoff-api && have_image bakeoff-ui; then return; fi
  if [ -n "$IMAGE_REGISTRY" ]; then
    pull_images
  else
    "$RELEASE/docker/build.sh" --tag "$BAKEOFF_TAG" || fail "the images could not be built; see above."
  fi
}

# --- units -----------------------------------------------------------------------------------------------------------

# Installs copies, because a deployment may replace the files in the release's folder.
install_units() {
  mkdir -p "$PROGRAMS"
  # The journal has what other users of the host must not read.
  install -d -m 700 /var/log/bakeoff
  install -m 755 "$HERE/stack.sh" "$HERE/nightly-backup.sh" "$HERE/restore-drill.sh" "$HERE/unit-alert.sh" "$PROGRAMS/"
  install -m 644 "$HERE"/bakeoff*.service "$HERE/bakeoff-restore-drill.timer" "$UNITS/"
  sed "s/@BACKUP_TIME@/$BACKUP_TIME/" "$HERE/bakeoff-backup.timer" >"$UNITS/bakeoff-backup.timer"
  chmod 755 "$PROGRAMS"
  chmod 644 "$UNITS/bakeoff-backup.timer"
  systemctl daemon-reload
}

# Amazon Linux has the agent as a package. Without the agent the logs stay on the host, which is not fatal.
start_agent() {
  local control=/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl action=fetch-config
  [ "$ALARMS$SHIP_LOGS" != nono ] || return 0
  if [ ! -x "$control" ] && command -v dnf >/dev/null 2>&1; then dnf install -y -q amazon-cloudwatch-agent || true; fi
  if [ ! -x "$control" ]; then
    say "the CloudWatch agent is not installed: logs stay on this host (docker compose logs, journalctl), and the alarms of
  disk and memory have no data."
    return
  fi
  if [ "$ALARMS" = yes ]; then use_agent_settings metrics.json; fi
  if [ "$SHIP_LOGS" = yes ]; then
    install -m 644 "$HERE/journal.logrotate" /etc/logrotate.d/bakeoff
    systemctl enable --quiet --now bakeoff-journal.service
    use_agent_settings logs.json
  fi
}

# use_agent_settings FILE: the first one replaces what the agent has, a second one is added: under another name, because
# the agent takes a further file of the same name for a new state of the first.
use_agent_settings() {
  sed -e "s|@LOG_GROUP@|$LOG_GROUP|" "$HERE/$1" >"$CONFIG/agent-$1"
  "$control" -a "$action" -m ec2 -s -c "file:$CONFIG/agent-$1" >/dev/null ||
    say "the CloudWatch agent did not start with $1: what it collects stays on this host."
  action=append-config
}

wait_until_healthy() {
  local deadline=$((SECONDS + HEALTHY_SECONDS))
  until curl --fail --silent --max-time 5 -o /dev/null "http://127.0.0.1:$API_PORT/health"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "the API does not answer on port $API_PORT after $HEALTHY_SECONDS s. For the reason, see
  journalctl -u bakeoff, and docker compose -p bakeoff logs (in $RELEASE)."
    sleep 2
  done
}

main() {
  if [ "${1:-}" = --help ]; then
    usage
    return
  fi
  read_config
  use_data_volume
  make_configuration_readable
  install_docker
  write_env
  get_images
  allow_deploys
  install_units
  start_agent
  systemctl enable --quiet bakeoff.service
  systemctl start bakeoff.service || fail "the stack did not start: $(journalctl -u bakeoff --no-pager -n 20)"
  systemctl enable --quiet --now bakeoff-backup.timer bakeoff-restore-drill.timer
  wait_until_healthy
  say "the API answers on port $API_PORT."
  # Now, and not in the first night: then a backup that cannot be made is noticed while somebody is there.
  systemctl start bakeoff-backup.service || say "the first backup failed: journalctl -u bakeoff-backup"
}

main "$@"
