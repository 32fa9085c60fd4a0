#!/usr/bin/env bash
# The part of the entrypoint of postgres:15-bookworm that docker-compose.yml needs: initialises a new server with a
# user, a password and a database, then runs the server.
set -euo pipefail

password() {
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    cat "$POSTGRES_PASSWORD_FILE"
  else
    printf '%s' "${POSTGRES_PASSWORD:-}"
  fi
}

initialise() {
  local user="${POSTGRES_USER:-postgres}"
  if [ -z "$(password)" ]; then
    echo "POSTGRES_PASSWORD is empty: set it; a database without a password is not created" >&2
    exit 1
  fi
  # shellcheck disable=SC2086  # several options, as upstream's entrypoint takes them
  initdb -U "$user" --pwfile <(password) --locale=C.UTF-8 ${POSTGRES_INITDB_ARGS:-}
  printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  sed -i "s/^#listen_addresses = .*/listen_addresses = '*'/" "$PGDATA/postgresql.conf"
  # A temporary server without network access creates the database.
  pg_ctl -w -o "-c listen_addresses=''" start
  if [ "${POSTGRES_DB:-$user}" != postgres ]; then createdb -U "$user" -O "$user" "${POSTGRES_DB:-$user}"; fi
  pg_ctl -w -m fast stop
}

main() {
  if [ "${1:-postgres}" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    chmod 0700 "$PGDATA"
    initialise
  fi
  exec "$@"
}

main "$@"
