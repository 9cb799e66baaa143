#!/bin/bash
# Judge layer 4 of the live box: each framework imports in its own environment.
# The environments are /opt/cube/venvs/NAME, NAME being the module to import.

# shellcheck source=health.sh
. "${CUBE_LIB:-/usr/local/lib/cube}/health.sh"

LIMIT_S=${CUBE_LIMIT_S:-120} # a cold import of a framework reads gigabytes

check_frameworks() {
  local python found=no
  for python in "$ROOT"/opt/cube/venvs/*/bin/python; do
    [[ -x $python ]] || continue
    found=yes
    check_import "$python"
  done
  [[ $found == yes ]] || fail "frameworks" "no environment in $ROOT/opt/cube/venvs"
}

check_import() {
  local module
  module=$(basename "$(dirname "$(dirname "$1")")")
  run "$1" -c "import $module; print($module.__version__)"
  if ((CODE == 0)); then
    ok "$module imports" "$(tail -n 1 <<<"$OUTPUT")"
  else
    fail "$module imports" "$(explain python)"
  fi
}

begin_layer 4 "Judge layer 4: each framework imports in its own environment" "$@"
has_role frameworks && check_frameworks
finish
