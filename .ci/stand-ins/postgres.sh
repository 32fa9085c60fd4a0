#!/usr/bin/env bash
# What the entrypoint of postgres:15-bookworm does of what docker-compose.yml asks of it: makes the files of a new
# server with a user, a password and a database, and becomes the server.
set -euo pipefail

password() {
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    cat "$POSTGRES_PASSWORD_FILE"
  else
    printf '%s' "${POSTGRES_PASSWORD:-}"
  fi
}

make_files() {
  local user="${POSTGRES_USER:-postgres}"
  if [ -z "$(password)" ]; then
    echo "POSTGRES_PASSWORD is empty: a server that anybody may use is not made" >&2
    exit 1
  fi
  # shellcheck disable=SC2086  # several options, as upstream's entrypoint takes them
  initdb -U "$user" --pwfile <(password) --locale=C.UTF-8 ${POSTGRES_INITDB_ARGS:-}
  printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  sed -i "s/^#listen_addresses = .*/listen_addresses = '*'/" "$PGDATA/postgresql.conf"
  # A server that nobody reaches by the network makes the database.
  pg_ctl -w -o "-c listen_addresses=''" start
  if [ "${POSTGRES_DB:-$user}" != postgres ]; then createdb -U "$user" -O "$user" "${POSTGRES_DB:-$user}"; fi
  pg_ctl -w -m fast stop
}

main() {
  if [ "${1:-postgres}" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    chmod 0700 "$PGDATA"
    make_files
  fi
  exec "$@"
}

main "$@"
