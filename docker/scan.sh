#!/usr/bin/env bash
# Looks into built images: what is in them (SBOM), secrets in their layers and history, who runs in them, what may
# change its user, how large they are. Vulnerabilities only where the data can be had, and it says so where not.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
BASE=python:3.11-slim-bookworm
LEAST_COMPONENTS=20
declare -A LIMIT_MB=([bakeoff-api]=450 [bakeoff-ui]=700)
# A variable of such a name must be given when a container starts, not when its image is made.
SECRET_NAMES='^[A-Z0-9_]*(TOKEN|PASSWORD|SECRET|PRIVATE|CREDENTIAL)[A-Z0-9_]*=.+'
SECRET_FILES='(^|/)(\.env|\.git|id_rsa|id_ed25519|[^/]*\.pem|admin\.token|\.pypirc|\.netrc|\.npmrc)$'
# Certificates of authorities are public; the base and Python's packages bring them.
PUBLIC_FILES='(^etc/ssl/|^usr/|/certifi/|/site-packages/.*cacert)'

TOOLS=""
OUTPUT=""
SCRATCH=""
FAILED=0

say() { printf '%s\n' "$*"; }

usage() {
  cat <<TEXT
Usage: docker/scan.sh [--output DIR] IMAGE ...

Examines each image, which must be on this host, and prints a line for each thing it looked at. Into DIR (reports/scan)
go NAME.sbom.json (CycloneDX), NAME.secrets.json and images.txt (name, id and size above $BASE).

  --output DIR  where the reports go
  --help        show this text

Exit status: 0 when nothing was found, 1 when something was, 2 for wrong use.
TEXT
}

fail() {
  printf 'docker/scan.sh: %s\n' "$*" >&2
  exit "${2:-2}"
}

good() { say "  ok        $*"; }

bad() {
  say "  FOUND     $*"
  FAILED=1
}

parse_arguments() {
  IMAGES=()
  OUTPUT="$ROOT/reports/scan"
  while [ $# -gt 0 ]; do
    case "$1" in
      --output)
        [ $# -ge 2 ] || fail "--output needs a value"
        OUTPUT="$2"
        shift
        ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*) fail "unknown option: $1 (--help)" ;;
      *) IMAGES+=("$1") ;;
    esac
    shift
  done
  [ "${#IMAGES[@]}" -gt 0 ] || { usage >&2; fail "name an image"; }
}

trivy() { "$TOOLS/trivy" --quiet --cache-dir "$SCRATCH/cache" "$@"; }

# What a file of an image's tree looks like in a listing of tar: mode, owner, size, date, time, name.
listing() {
  local container
  container="$(docker create "$1" true)"
  docker export "$container" | tar -tv --numeric-owner >"$2"
  docker rm "$container" >/dev/null
}

write_sbom() {
  local count
  trivy image --input "$2" --format cyclonedx --output "$OUTPUT/$1.sbom.json" || {
    bad "no SBOM could be made"
    return
  }
  count="$("$TOOLS/python" -c 'import json, sys; print(len(json.load(sys.stdin)["components"]))' <"$OUTPUT/$1.sbom.json")"
  if [ "$count" -ge "$LEAST_COMPONENTS" ]; then
    good "SBOM: $count components"
  else
    bad "the SBOM names only $count components"
  fi
}

find_secrets() {
  local name="$1" archive="$2" count
  trivy image --input "$archive" --scanners secret --image-config-scanners secret --format json \
    --output "$OUTPUT/$name.secrets.json" || { bad "the layers could not be searched for secrets"; return; }
  count="$("$TOOLS/python" - "$OUTPUT/$name.secrets.json" <<'PYTHON'
import json, sys
found = json.load(open(sys.argv[1]))
results = (found.get("Results") or []) + (found.get("ImageConfig") or {}).get("Results", [])
secrets = [(result["Target"], secret) for result in results for secret in result.get("Secrets") or []]
print(len(secrets))
for target, secret in secrets:
    print(f"            {target}: {secret['Title']}", file=sys.stderr)
PYTHON
)"
  if [ "$count" = 0 ]; then good "no secret in layers and history"; else bad "$count secrets in layers or history"; fi
}

find_secret_names() {
  local found
  found="$(docker image inspect -f '{{range .Config.Env}}{{println .}}{{end}}' "$1" | grep -E "$SECRET_NAMES" |
    sed 's/=.*//' || true)"
  if [ -z "$found" ]; then good "no secret in the environment"; else bad "the image sets ${found//$'\n'/, }"; fi
}

find_secret_files() {
  local found
  found="$(awk '{ print $6 }' "$1" | grep -vE "$PUBLIC_FILES" | grep -E "$SECRET_FILES" || true)"
  if [ -z "$found" ]; then good "no file that is kept secret elsewhere"; else bad "files: ${found//$'\n'/, }"; fi
}

check_user() {
  local user
  user="$(docker image inspect -f '{{.Config.User}}' "$1")"
  case "${user%%:*}" in
    '' | root | 0) bad "runs as root (USER is '$user')" ;;
    *) good "runs as $user" ;;
  esac
}

# What may change its user by its mode, beyond what the base has.
check_setuid() {
  local more
  more="$(comm -13 <(setuid "$SCRATCH/base.list") <(setuid "$1"))"
  if [ -z "$more" ]; then
    good "no setuid or setgid file beyond the base's"
  else
    bad "setuid or setgid: ${more//$'\n'/, }"
  fi
}

setuid() { awk '$1 ~ /^-/ && ($1 ~ /^-..[sS]/ || $1 ~ /^-.....[sS]/) { print $6 }' "$1" | sort; }

size() { docker image inspect -f '{{.Size}}' "$1"; }

check_size() {
  local image="$1" limit above
  limit="${LIMIT_MB[${image%%:*}]:-}"
  above=$((($(size "$image") - $(size "$BASE")) / 1000000))
  say "$image $(docker image inspect -f '{{.Id}}' "$image") ${above}MB" >>"$OUTPUT/images.txt"
  if [ -n "$limit" ] && [ "$above" -gt "$limit" ]; then
    bad "$above MB above the base, and $limit are allowed"
  else
    good "$above MB above the base${limit:+ (allowed: $limit)}"
  fi
}

find_vulnerabilities() {
  if [ ! -e "$SCRATCH/data" ]; then
    if trivy image --download-db-only 2>/dev/null; then say yes >"$SCRATCH/data"; else say no >"$SCRATCH/data"; fi
  fi
  if [ "$(cat "$SCRATCH/data")" = no ]; then
    say "  NOT RUN   not audited: no vulnerability data reachable"
  elif trivy image --input "$1" --scanners vuln --severity HIGH,CRITICAL --ignore-unfixed --exit-code 1; then
    good "no grave vulnerability that has a remedy"
  else
    bad "vulnerabilities"
  fi
}

scan() {
  local image="$1" name
  docker image inspect "$image" >/dev/null 2>&1 ||
    fail "$image is not on this host: build it (docker/build.sh) or pull it"
  name="${image##*/}"
  name="${name%%:*}"
  say "$image"
  docker save "$image" -o "$SCRATCH/image.tar"
  listing "$image" "$SCRATCH/image.list"
  write_sbom "$name" "$SCRATCH/image.tar"
  find_secrets "$name" "$SCRATCH/image.tar"
  find_secret_names "$image"
  find_secret_files "$SCRATCH/image.list"
  check_user "$image"
  check_setuid "$SCRATCH/image.list"
  check_size "$image"
  find_vulnerabilities "$SCRATCH/image.tar"
}

main() {
  local image
  parse_arguments "$@"
  docker info >/dev/null 2>&1 || fail "no Docker engine answers"
  docker image inspect "$BASE" >/dev/null 2>&1 || fail "$BASE is not on this host, and the images are compared with it"
  TOOLS="$("$ROOT/.ci/tools" python)"
  SCRATCH="$(mktemp -d)"
  trap 'rm -rf "$SCRATCH"' EXIT
  mkdir -p "$OUTPUT"
  : >"$OUTPUT/images.txt"
  listing "$BASE" "$SCRATCH/base.list"
  for image in "${IMAGES[@]}"; do scan "$image"; done
  exit "$FAILED"
}

main "$@"
