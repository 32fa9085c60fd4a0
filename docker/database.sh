# shellcheck shell=bash
# The PostgreSQL service of the Compose profile `postgres`, when it is the store. Sourced after lib.sh.

# Whether DATABASE_URL points to the service in docker-compose.yml, that is, whether its host is `postgres`.
has_database() {
  [[ "$(setting DATABASE_URL)" =~ ^postgresql(\+psycopg)?://([^@/]*@)?postgres([:/?]|$) ]]
}

# Starts the service if it is not running, and waits until it answers. Backup and restore need no other service.
start_database() {
  local waited=0
  has_database || return 0
  compose up -d --no-build postgres >&2 || fail "the service postgres did not start; see above."
  until compose exec -T postgres psql -h 127.0.0.1 -U bakeoff -d bakeoff -Atqc 'SELECT 1' </dev/null >/dev/null 2>&1; do
    waited=$((waited + 1))
    [ "$waited" -lt 60 ] || fail "the service postgres did not answer within 60 s; its log says why: docker logs $(containers_of postgres | head -n 1)"
    sleep 1
  done
}
