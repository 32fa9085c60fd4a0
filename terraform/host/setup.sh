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

REGION="" IMAGE_REGISTRY="" BAKEOFF_TAG="" API_PORT="" UI_PORT="" UI_OPEN="" SSH_LOGIN="" LOG_GROUP="" BACKUP_TIME=""
COMPOSE_URL="" COMPOSE_SHA256=""

say() { printf 'bakeoff: %s\n' "$*"; }

fail() {
  printf 'bakeoff: %s\n' "$*" >&2
  exit 1
}

usage() {
  cat <<'TEXT'
Usage: terraform/host/setup.sh

Sets up the host for the stack: Docker, .env, images, and the systemd units bakeoff.service (starts the stack at each
boot) and bakeoff-backup.timer (a nightly backup into the bucket); then starts the stack and waits for an answer.
The user data of terraform/ calls it at the first boot. Settings are in /etc/bakeoff: host.conf, stack.env, secrets.conf.
TEXT
}

read_config() {
  [ "$(id -u)" = 0 ] || fail "setup needs root: sudo $0"
  [ -r "$CONFIG/host.conf" ] || fail "$CONFIG/host.conf is missing: the user data writes it. See terraform/README.md."
  # shellcheck source=/dev/null
  . "$CONFIG/host.conf"
}

# Prometheus and others run as users of their own; a release packed without its folders is unpacked by our umask.
show_configuration() { find "$RELEASE/docker" ! -perm -044 -exec chmod go+rX {} +; }

install_docker() {
  local options=()
  if [ -n "$COMPOSE_URL" ]; then options=(COMPOSE_URL="$COMPOSE_URL" COMPOSE_SHA256="$COMPOSE_SHA256"); fi
  env "${options[@]}" "$RELEASE/install.sh" --yes --host-only || fail "Docker could not be installed; what it said is above."
}

# --- .env ------------------------------------------------------------------------------------------------------------

make_token() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# The lines NAME=value of the secret settings; the values are in no file but .env.
read_secrets() {
  local name parameter value
  while IFS='=' read -r name parameter; do
    [ -n "$name" ] || continue
    value="$(aws ssm get-parameter --region "$REGION" --name "$parameter" --with-decryption --query Parameter.Value \
      --output text)" || fail "the parameter $parameter for $name could not be read: does it exist in $REGION?"
    case "$value" in
      *[!A-Za-z0-9._,:/@%+=~-]*) fail "the parameter $parameter holds a character that .env cannot: use letters, digits and . _ , : / @ % + = ~ -" ;;
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
    printf '# Made at the first boot; docker/deploy.sh changes BAKEOFF_TAG. The security group decides who gets through.\n'
    printf 'BIND=0.0.0.0\nUI_BIND=%s\nOPERATIONS_BIND=127.0.0.1\n' "$ui_bind"
    printf 'API_PORT=%s\nUI_PORT=%s\nBAKEOFF_TAG=%s\n' "$API_PORT" "$UI_PORT" "$BAKEOFF_TAG"
    cat "$CONFIG/stack.env"
    [ -z "$secrets" ] || printf '%s\n' "$secrets"
    grep -q '^ADMIN_TOKEN=' "$CONFIG/secrets.conf" || printf 'ADMIN_TOKEN=%s\n' "$(make_token)"
  } >"$draft"
  chmod 600 "$draft"
  mv "$draft" "$RELEASE/.env"
  say "wrote $RELEASE/.env (mode 600; it holds the administrative token)."
}

# The login user of the image may deploy; it can become root anyway.
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
    docker login --username AWS --password-stdin "$host" >/dev/null 2>&1 || fail "no login to $host: may the role pull from it?"
  for image in bakeoff-api bakeoff-ui; do
    docker pull --quiet "$IMAGE_REGISTRY/$image:$BAKEOFF_TAG" || fail "$IMAGE_REGISTRY/$image:$BAKEOFF_TAG could not be pulled."
    docker tag "$IMAGE_REGISTRY/$image:$BAKEOFF_TAG" "$image:$BAKEOFF_TAG"
  done
  docker logout "$host" >/dev/null
}

get_images() {
  if have_image bakeoff-api && have_image bakeoff-ui; then return; fi
  if [ -n "$IMAGE_REGISTRY" ]; then
    pull_images
  else
    "$RELEASE/docker/build.sh" --tag "$BAKEOFF_TAG" || fail "the images could not be built; what it said is above."
  fi
}

# --- units -----------------------------------------------------------------------------------------------------------

# Copies, since a deployment may replace the release's folder.
install_units() {
  mkdir -p "$PROGRAMS"
  install -m 755 "$HERE/stack.sh" "$HERE/nightly-backup.sh" "$PROGRAMS/"
  install -m 644 "$HERE/bakeoff.service" "$HERE/bakeoff-backup.service" "$UNITS/"
  sed "s/@BACKUP_TIME@/$BACKUP_TIME/" "$HERE/bakeoff-backup.timer" >"$UNITS/bakeoff-backup.timer"
  chmod 755 "$PROGRAMS"
  chmod 644 "$UNITS/bakeoff-backup.timer"
  systemctl daemon-reload
}

# Amazon Linux has the agent as a package; elsewhere the logs stay on the host, which is no reason to stop.
ship_logs() {
  local settings="$CONFIG/logs.json" control=/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl
  if [ ! -x "$control" ] && command -v dnf >/dev/null 2>&1; then dnf install -y -q amazon-cloudwatch-agent || true; fi
  if [ ! -x "$control" ]; then
    say "the CloudWatch agent is not here: the logs stay on this host (docker compose logs, journalctl)."
    return
  fi
  sed -e "s|@LOG_GROUP@|$LOG_GROUP|" "$HERE/logs.json" >"$settings"
  "$control" -a fetch-config -m ec2 -s -c "file:$settings" >/dev/null || say "the CloudWatch agent does not start: the logs stay here."
}

wait_until_healthy() {
  local deadline=$((SECONDS + HEALTHY_SECONDS))
  until curl --fail --silent --max-time 5 -o /dev/null "http://127.0.0.1:$API_PORT/health"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "the API does not answer at port $API_PORT after $HEALTHY_SECONDS s:
  journalctl -u bakeoff, and docker compose -p bakeoff logs, say why."
    sleep 2
  done
}

main() {
  if [ "${1:-}" = --help ]; then
    usage
    return
  fi
  read_config
  show_configuration
  install_docker
  write_env
  get_images
  allow_deploys
  install_units
  ship_logs
  systemctl enable --quiet bakeoff.service
  systemctl start bakeoff.service || fail "the stack did not start: $(journalctl -u bakeoff --no-pager -n 20)"
  systemctl enable --quiet --now bakeoff-backup.timer
  wait_until_healthy
  say "the API answers at port $API_PORT."
}

main "$@"
