#!/usr/bin/env bash
# Scans built images: components (SBOM), secrets in layers and history, user, setuid files and size. Vulnerabilities are
# checked if the vulnerability data can be downloaded; the output says so if not.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
BASE=python:3.11-slim-bookworm
LEAST_COMPONENTS=20
declare -A LIMIT_MB=([bakeoff-api]=600 [bakeoff-ui]=700)
# A variable with such a name must be set when a container starts, not when its image is built.
SECRET_NAMES='^[A-Z0-9_]*(TOKEN|PASSWORD|SECRET|PRIVATE|CREDENTIAL)[A-Z0-9_]*=.+'
SECRET_FILES='(^|/)(\.env|\.git|id_rsa|id_ed25519|[^/]*\.pem|admin\.token|\.pypirc|\.netrc|\.npmrc)$'
# CA certificates are public; the base image and Python packages contain them.
PUBLIC_FILES='(^etc/ssl/|^usr/|/certifi/|/site-packages/.*cacert)'

TOOLS=""
OUTPUT=""
SCRATCH=""
FAILED=0

say() { printf '%s\n' "$*"; }

usage() {
  cat <<TEXT
Usage: docker/scan.sh [--output DIR] IMAGE ...

Scans each image, which must be on this host, and prints one line per check. Writes NAME.sbom.json (CycloneDX),
NAME.secrets.json and images.txt (name, id and size above $BASE) to DIR.

  --output DIR  where the reports are written (default: reports/scan)
  --help        show this text

Exit status: 0 if nothing was found, 1 if something was found, 2 for a usage error.
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
  [ "${#IMAGES[@]}" -gt 0 ] || { usage >&2; fail "give an image"; }
}

trivy() { "$TOOLS/trivy" --quiet --cache-dir "$SCRATCH/cache" "$@"; }

# listing IMAGE FILE: writes the image's files as tar lists them: mode, owner, size, date, time, name.
listing() {
  local container
  container="$(docker create "$1" true)"
  docker export "$container" | tar -tv --numeric-owner >"$2"
  docker rm "$container" >/dev/null
}

write_sbom() {
  local count
  trivy image --input "$2" --format cyclonedx --output "$OUTPUT/$1.sbom.json" || {
    bad "the SBOM could not be written"
    return
  }
  count="$("$TOOLS/python" -c 'import json, sys; print(len(json.load(sys.stdin)["components"]))' <"$OUTPUT/$1.sbom.json")"
  if [ "$count" -ge "$LEAST_COMPONENTS" ]; then
    good "SBOM: $count components"
  else
    bad "the SBOM has only $count components, expected at least $LEAST_COMPONENTS"
  fi
}

find_secrets() {
  local name="$1" archive="$2" count
  trivy image --input "$archive" --scanners secret --image-config-scanners secret --format json \
    --output "$OUTPUT/$name.secrets.json" || { bad "the scan for secrets failed"; return; }
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
  if [ -z "$found" ]; then
    good "no secret in the environment"
  else
    bad "the image sets variables named like secrets: ${found//$'\n'/, }"
  fi
}

find_secret_files() {
  local found
  found="$(awk '{ print $6 }' "$1" | grep -vE "$PUBLIC_FILES" | grep -E "$SECRET_FILES" || true)"
  if [ -z "$found" ]; then good "no secret files"; else bad "files named like secrets: ${found//$'\n'/, }"; fi
}

check_user() {
  local user
  user="$(docker image inspect -f '{{.Config.User}}' "$1")"
  case "${user%%:*}" in
    '' | root | 0) bad "runs as root (USER is '$user')" ;;
    *) good "runs as $user" ;;
  esac
}

# Finds the setuid and setgid files that the base image does not have.
check_setuid() {
  local more
  more="$(comm -13 <(setuid "$SCRATCH/base.list") <(setuid "$1"))"
  if [ -z "$more" ]; then
    good "no setuid or setgid files beyond those of the base image"
  else
    bad "setuid or setgid files: ${more//$'\n'/, }"
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
    bad "$above MB above the base image (limit: $limit MB)"
  else
    good "$above MB above the base image${limit:+ (limit: $limit MB)}"
  fi
}

find_vulnerabilities() {
  if [ ! -e "$SCRATCH/data" ]; then
    if trivy image --download-db-only 2>/dev/null; then say yes >"$SCRATCH/data"; else say no >"$SCRATCH/data"; fi
  fi
  if [ "$(cat "$SCRATCH/data")" = no ]; then
    say "  NOT RUN   vulnerabilities not checked: the vulnerability data could not be downloaded"
  elif trivy image --input "$1" --scanners vuln --severity HIGH,CRITICAL --ignore-unfixed --exit-code 1; then
    good "no high or critical vulnerability with a fix"
  else
    bad "high or critical vulnerabilities with a fix; see above"
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
  docker info >/dev/null 2>&1 || fail "the Docker engine does not answer: start it (sudo systemctl start docker)"
  docker image inspect "$BASE" >/dev/null 2>&1 ||
    fail "$BASE is not on this host, but the images are compared with it: docker pull $BASE"
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
