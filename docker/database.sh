# shellcheck shell=bash
# The PostgreSQL of the profile `postgres`, where it is the store. Sourced after lib.sh.

# Whether DATABASE_URL names the service of docker-compose.yml: its host is `postgres`.
has_database() {
  [[ "$(setting DATABASE_URL)" =~ ^postgresql(\+psycopg)?://([^@/]*@)?postgres([:/?]|$) ]]
}

# Starts it where it does not run, and waits until it answers: what backs up or restores needs no other part.
start_database() {
  local waited=0
  has_database || return 0
  compose up -d --no-build postgres >&2 || fail "the service postgres does not start; see above."
  until compose exec -T postgres psql -h 127.0.0.1 -U bakeoff -d bakeoff -Atqc 'SELECT 1' </dev/null >/dev/null 2>&1; do
    waited=$((waited + 1))
    [ "$waited" -lt 60 ] || fail "the service postgres does not answer: docker logs $(containers_of postgres | head -n 1)"
    sleep 1
  done
}
