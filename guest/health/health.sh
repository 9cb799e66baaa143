# shellcheck shell=bash
# shellcheck disable=SC2317 # the scripts that source it call its functions
# The library of the health checks; it runs on the box and needs nothing but the box.
#
# A check script calls begin, then ok / fail / skip / check for each of its checks, then finish,
# which prints what is left to print and exits: 0 all that applies passed, 1 something failed,
# 2 it could not run, 77 nothing applied (automake's code for a skipped test; never a pass).
#
# CUBE_ROOT names a fake root for state files, /proc and /sys in tests; what is seen there is
# marked as simulated, and so is a machine on which packages stand in for others.

set -uo pipefail
export LC_ALL=C.UTF-8
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

ROOT=${CUBE_ROOT:-}
LAYERS=$ROOT/var/lib/cube/layers.json
# shellcheck disable=SC2034 # read by the scripts
EXPECTATIONS=$ROOT/etc/cube/expectations.json

EXIT_FAIL=1
EXIT_CANNOT_RUN=2
EXIT_NOT_RUN=77

LIMIT_S=${CUBE_LIMIT_S:-20} # no healthy program takes longer to answer
JSON=no
CHECK="" TITLE="" EVIDENCE=cpu REASON=""
NAMES=() STATUSES=() DETAILS=()
PASSED=0 FAILED=0 SKIPPED=0

# begin CHECK TITLE ARGUMENT...: read the command line.
begin() {
  CHECK=$1 TITLE=$2
  shift 2
  if [[ -n $ROOT ]] || compgen -G "$ROOT/usr/share/cube/stand-ins/*" >/dev/null; then
    EVIDENCE=simulated
  fi
  local argument
  for argument in "$@"; do
    case $argument in
      --json) JSON=yes ;;
      -h | --help) usage && exit 0 ;;
      *) cannot_run "unknown argument $argument: try --help" ;;
    esac
  done
}

usage() {
  cat <<TEXT
Usage: ${0##*/} [--json]

$TITLE. One line a check: OK, FAIL or SKIP, its name, what was seen.

  --json  print one JSON object instead
  --help  print this

Exit codes:
  0   every check that applies passed, and at least one ran
  1   at least one check failed
  2   it could not run: bad argument, not root
  77  NOT RUN: it does not apply to this box; never a pass
TEXT
}

cannot_run() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit "$EXIT_CANNOT_RUN"
}

needs_root() {
  [[ $EUID -eq 0 || -n $ROOT ]] || cannot_run "needs root: sudo $0"
}

ok() { add OK "$1" "$2" && PASSED=$((PASSED + 1)); }
fail() { add FAIL "$1" "$2" && FAILED=$((FAILED + 1)); }
skip() { add SKIP "$1" "$2" && SKIPPED=$((SKIPPED + 1)); }

add() {
  one_line "$3"
  STATUSES+=("$1") NAMES+=("$2") DETAILS+=("$LINE")
  [[ $JSON == yes ]] || printf '%-5s %s: %s\n' "$1" "$2" "$LINE"
}

# one_line TEXT: valid UTF-8 without control characters, at most 200 of them, in LINE.
one_line() {
  LINE=$1
  if [[ $LINE == *[!\ -~]* ]]; then
    LINE=$(printf '%s' "$LINE" | LC_ALL=C tr -s '[:cntrl:]' ' ' | iconv -c -f UTF-8 -t UTF-8)
  fi
  LINE=${LINE:0:200}
}

# run COMMAND...: run a program within the time limit; OUTPUT and CODE are what it left.
run() {
  CODE=0
  OUTPUT=$(timeout "$LIMIT_S" "$@" 2>&1 </dev/null) || CODE=$?
}

# explain PROGRAM: say how the last run failed.
explain() {
  local last
  last=$(grep -v '^[[:space:]]*$' <<<"$OUTPUT" | tail -n 1)
  case $CODE in
    124) printf '%s: no answer within %s s' "$1" "$LIMIT_S" ;;
    127) printf '%s: not installed' "$1" ;;
    *) printf '%s: exit code %s: %s' "$1" "$CODE" "${last:-no output}" ;;
  esac
}

# check NAME COMMAND...: OK with the first line of its output, FAIL when it fails.
check() {
  local name=$1
  shift
  run "$@"
  if ((CODE == 0)); then
    ok "$name" "$(head -n 1 <<<"${OUTPUT:-exit code 0}")"
  else
    fail "$name" "$(explain "$1")"
  fi
}

# check_unit NAME UNIT: OK when systemd says that the unit is active.
check_unit() {
  run systemctl is-active "$2"
  if [[ $OUTPUT == active ]]; then ok "$1" "$2 is active"; else fail "$1" "$2 is ${OUTPUT:-unknown}"; fi
}

# read_json FILE EXPRESSION: print a Python expression over the parsed file, which it calls d.
read_json() {
  /usr/bin/python3 -IS -c '
import json, sys
d = json.load(open(sys.argv[1], encoding="utf-8"))
print(eval(sys.argv[2]))
' "$1" "$2" 2>/dev/null
}

# uptime_s: seconds since this system's first process; a container's /proc/uptime is its host's.
uptime_s() { ps -o etimes= -p 1; }

in_container() { systemd-detect-virt --quiet --container >/dev/null; }

# begin_layer N TITLE ARGUMENT...: stop unless the layer is recorded on this box; fill ROLES.
begin_layer() {
  local layer=$1 title=$2 found
  shift 2
  begin "layer$layer" "$title" "$@"
  needs_root
  [[ -e $LAYERS ]] || not_run "no layer is recorded on this box ($LAYERS is missing)"
  if ! found=$(read_json "$LAYERS" "' '.join(d['layers'].get('$layer', {'roles': ['-']})['roles'])"); then
    fail "record of layers" "$LAYERS cannot be read"
    finish
  fi
  [[ $found != - ]] || not_run "layer $layer is not installed on this box"
  read -ra ROLES <<<"$found"
}

# has_role ROLE: true when the layer was applied with it; a skip otherwise.
has_role() {
  [[ " ${ROLES[*]} " == *" $1 "* ]] || { skip "role $1" "this box has the layer without it" && return 1; }
}

not_run() {
  one_line "$1"
  REASON=$LINE EVIDENCE=none
  [[ $JSON == yes ]] || printf 'SKIP  %s: NOT RUN: %s\n' "$CHECK" "$REASON"
  finish
}

outcome() {
  if ((FAILED > 0)); then echo fail; elif ((PASSED > 0)); then echo pass; else echo not_run; fi
}

finish() {
  local outcome
  outcome=$(outcome)
  if [[ $JSON == yes ]]; then print_json "$outcome"; else print_summary "$outcome"; fi
  case $outcome in
    pass) exit 0 ;;
    fail) exit "$EXIT_FAIL" ;;
    *) exit "$EXIT_NOT_RUN" ;;
  esac
}

print_summary() {
  local word=${1^^}
  printf '%s %s: %s passed, %s failed, %s skipped%s\n' "${word/_/ }" "$CHECK" \
    "$PASSED" "$FAILED" "$SKIPPED" "$([[ $EVIDENCE != simulated ]] || echo ' (simulated)')"
}

# quote TEXT: a JSON string in QUOTED; one_line has already removed what JSON forbids.
quote() {
  QUOTED=${1//\\/\\\\}
  QUOTED=\"${QUOTED//\"/\\\"}\"
}

print_json() {
  local index comma="" name
  quote "$REASON"
  printf '{"check": "%s", "outcome": "%s", "reason": %s, "evidence": "%s", ' \
    "$CHECK" "$1" "$QUOTED" "$EVIDENCE"
  printf '"counts": {"ok": %s, "fail": %s, "skip": %s}, "checks": [' "$PASSED" "$FAILED" "$SKIPPED"
  for index in "${!NAMES[@]}"; do
    quote "${NAMES[index]}"
    name=$QUOTED
    quote "${DETAILS[index]}"
    printf '%s{"name": %s, "status": "%s", "detail": %s}' \
      "$comma" "$name" "${STATUSES[index]}" "$QUOTED"
    comma=", "
  done
  printf ']}\n'
}
