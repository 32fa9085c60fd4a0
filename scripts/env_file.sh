# shellcheck shell=bash
# Reading a .env file without executing it. Sourced by run_demo.sh after docker/lib.sh.

# Sets the variables of a .env file that the environment does not have already.
load_env_file() {
  local file="$1" line number=0 name value
  [ -f "$file" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    line="${line%$'\r'}"
    if [[ "$line" =~ ^[[:space:]]*(#.*)?$ ]]; then continue; fi
    [[ "$line" =~ ^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] ||
      fail "$file, line $number: expected NAME=value"
    name="${BASH_REMATCH[2]}"
    value="$(unquoted "${BASH_REMATCH[3]}")"
    if [ -z "${!name+set}" ]; then export "$name=$value"; fi
  done <"$file"
}
