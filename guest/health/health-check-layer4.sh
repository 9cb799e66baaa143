#!/bin/bash
# Judge layer 4 of the live box: each framework starts in its own environment.
# The environments are /opt/cube/venvs/NAME; the launcher cube-python knows the way into them.

# shellcheck source=health.sh
. "${CUBE_LIB:-/usr/local/lib/cube}/health.sh"

LIMIT_S=${CUBE_LIMIT_S:-120} # a cold import of a framework reads gigabytes
VENVS=$ROOT/opt/cube/venvs
LAUNCHER=cube-python

# What is imported of an environment of another name.
declare -A MODULES=([pytorch]=torch)

check_frameworks() {
  local folder found=no
  for folder in "$VENVS"/*/; do
    [[ -d $folder ]] || continue
    found=yes
    check_environment "$(basename "$folder")"
  done
  [[ $found == yes ]] || fail "frameworks" "no environment in $VENVS: apply layer 4 again"
}

# The lock is an environment's last file.
check_environment() {
  if [[ -f $VENVS/$1/requirements.txt ]]; then
    check_import "$1" "${MODULES[$1]:-$1}"
  else
    fail "$1 starts" "$VENVS/$1 is not whole: apply layer 4 again"
  fi
}

# check_import NAME MODULE: from a home that goes away, for an import leaves caches there.
check_import() {
  local home
  home=$(mktemp -d)
  HOME=$home run "$LAUNCHER" "$1" -B -c "import $2; print('$2', $2.__version__)"
  rm -rf "$home"
  if ((CODE == 0)); then
    ok "$1 starts" "$(tail -n 1 <<<"$OUTPUT")"
  else
    fail "$1 starts" "$(explain "$LAUNCHER")"
  fi
}

begin_layer 4 "Judge layer 4: each framework starts in its own environment" "$@"
has_role frameworks && check_frameworks
finish
