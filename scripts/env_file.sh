# shellcheck shell=bash
# Reading a .env file without executing it. Sourced by run_demo.sh, which brings `fail`.

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

# A value without its quotes, or without the comment that follows it.
unquoted() {
  local double='^"([^"]*)"[[:space:]]*(#.*)?$' single="^'([^']*)'[[:space:]]*(#.*)?\$" value="$1"
  if [[ "$value" =~ $double ]] || [[ "$value" =~ $single ]]; then
    printf '%s' "${BASH_REMATCH[1]}"
    return
  fi
  value="${value%%[[:space:]]#*}"
  printf '%s' "${value%"${value##*[![:space:]]}"}"
}
