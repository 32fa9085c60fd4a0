# shellcheck shell=bash
# Records the current and the previous release in .release, beside docker-compose.yml. Sourced after lib.sh.

RELEASE_FILE="$PROJECT_ROOT/.release"

# recorded NAME: a value of .release; empty if there is none.
recorded() { [ ! -f "$RELEASE_FILE" ] || sed -n "s/^$1=//p" "$RELEASE_FILE" | head -n 1; }

# before NAME: a value of the previous release. Former versions of these scripts recorded a release as its own predecessor.
before() { [ "$(recorded PREVIOUS_TAG)" = "$(recorded TAG)" ] || recorded "$1"; }

# The tag that a plain `docker compose up` would use.
configured_tag() { setting BAKEOFF_TAG local; }

# record_release TAG OLD-TAG OLD-API-ID OLD-UI-ID: records the current and the previous release. The same release again,
# with other settings, leaves the previous one as it was: rollback.sh would otherwise return to itself.
record_release() {
  local service previous=("$2" "$3" "$4")
  [ "$1" != "$2" ] || previous=("$(before PREVIOUS_TAG)" "$(before PREVIOUS_API)" "$(before PREVIOUS_UI)")
  set_in_env BAKEOFF_TAG "$1"
  {
    say "# Written by docker/deploy.sh; docker/rollback.sh returns to PREVIOUS."
    say "TAG=$1"
    say "PREVIOUS_TAG=${previous[0]}"
    say "PREVIOUS_API=${previous[1]}"
    say "PREVIOUS_UI=${previous[2]}"
    for service in edge prometheus alertmanager; do say "CONFIG_$service=$(config_sum "$service")"; done
  } | replace_file "$RELEASE_FILE"
}

# Allows one deployment at a time; the lock is released when this process ends.
lock_deployments() {
  command -v flock >/dev/null 2>&1 || return 0
  exec 9>"$PROJECT_ROOT/.deploy.lock" || fail "cannot write to $PROJECT_ROOT: run this as its owner."
  flock -n 9 || fail "another deployment is running in $PROJECT_ROOT: wait until it has finished."
}
