#!/bin/bash
# Judge layer 5 of the live box: the dashboard, the login line, and the timer of these checks.

# shellcheck source=health.sh
. "${CUBE_LIB:-/usr/local/lib/cube}/health.sh"

STALE_S=2400   # two runs of a quarter of an hour were missed
SETTLING_S=600 # the first run after a boot comes within ten minutes
RELEASE=$ROOT/etc/cube/release.json
HEALTH=$ROOT/var/lib/cube/health.json
MOTD=$ROOT/etc/update-motd.d/60-cube

check_monitoring() {
  check "htop" htop --version
  check "nvtop" nvtop --version
  check_disk_watch
  check_dashboard
  check_login_line
  check_state "release" "$RELEASE" "'{} {}'.format(d['name'], d['version'])"
}

check_disk_watch() {
  if systemd-detect-virt --quiet >/dev/null; then
    skip "disks watched" "a virtual machine's disks have no SMART data"
  else
    check_unit "disks watched" smartmontools.service
  fi
}

check_dashboard() {
  run cube-top --json
  if ((CODE != 0)); then
    fail "cube-top" "$(explain cube-top)"
  else
    ok "cube-top" "reads the machine"
  fi
}

check_login_line() {
  run "$MOTD"
  if ((CODE == 0)) && [[ -n $OUTPUT ]]; then
    ok "login line" "$(grep -v '^[[:space:]]*$' <<<"$OUTPUT" | head -n 1)"
  else
    fail "login line" "$(explain "$MOTD")"
  fi
}

# check_state NAME FILE EXPRESSION: OK when the file is JSON and holds what is read from it.
check_state() {
  local value
  if value=$(read_json "$2" "$3"); then
    ok "$1" "$value"
  else
    fail "$1" "$2 is missing or damaged"
  fi
}

check_validation() {
  check_unit "timer" cube-health.timer
  check_state "expectations" "$EXPECTATIONS" \
    "'{} GPUs of {} MiB'.format(d['gpu_count'], d['gpu_memory_mib'])"
  check_freshness
}

check_freshness() {
  local age
  if [[ $(systemctl is-active cube-health.service) == activating ]]; then
    skip "last result fresh" "the next one is being made right now"
  elif [[ ! -e $HEALTH ]]; then
    settling || fail "last result fresh" "there is none: journalctl -u cube-health"
  else
    age=$(($(date +%s) - $(stat --format=%Y "$HEALTH")))
    if ((age <= STALE_S)); then
      ok "last result fresh" "$age s old"
    else
      settling || fail "last result fresh" "$age s old, limit $STALE_S s"
    fi
  fi
}

# settling: skip when the machine has just started; the first run is still to come.
settling() {
  (($(uptime_s) < SETTLING_S)) && skip "last result fresh" "the first run after the boot is to come"
}

begin_layer 5 "Judge layer 5: dashboard, login line and the timer of these checks" "$@"
has_role monitoring && check_monitoring
has_role validation && check_validation
finish
