#!/bin/bash
# Judge layer 1 of the live box: the operating system, access, firewall, Docker, Python.

# shellcheck source=health.sh
. "${CUBE_LIB:-/usr/local/lib/cube}/health.sh"

DISK_LIMIT_PERCENT=90
SETTLING_S=900 # after a boot, time servers may need a quarter of an hour to be believed

check_common() {
  check_failed_units
  check_root_writable
  local mount
  for mount in / /boot /boot/efi /var /var/lib/docker /home; do
    mountpoint --quiet "$mount" && check_disk "$mount"
  done
  check_clock
  check_restart
  check_old_kernels
}

check_failed_units() {
  run systemctl list-units --state=failed --plain --no-legend
  if ((CODE != 0)); then
    fail "no failed units" "$(explain systemctl)"
  elif [[ -n $OUTPUT ]]; then
    fail "no failed units" "$(awk '{print $1}' <<<"$OUTPUT" | paste -sd ' ')"
  else
    ok "no failed units" "none"
  fi
}

# The file system's own options: the mount may be read-only in a service's view.
check_root_writable() {
  run findmnt --noheadings --output FS-OPTIONS --mountpoint /
  case ",$OUTPUT," in
    *,rw,*) ok "root file system writable" "mounted rw" ;;
    *) fail "root file system writable" "mounted ${OUTPUT:-unknown}" ;;
  esac
}

check_disk() {
  local used inodes
  read -r used inodes < <(df --output=pcent,ipcent "$1" | tail -n 1 | tr -d %)
  [[ $inodes =~ ^[0-9]+$ ]] || inodes=0 # vfat and btrfs count no inodes
  if ((used > DISK_LIMIT_PERCENT || inodes > DISK_LIMIT_PERCENT)); then
    fail "disk $1" "$used % used, $inodes % of inodes, limit $DISK_LIMIT_PERCENT %"
  else
    ok "disk $1" "$used % used, $inodes % of inodes"
  fi
}

check_clock() {
  if in_container; then
    skip "clock synchronised" "a container has its host's clock"
    return
  fi
  run timedatectl show --property=NTPSynchronized --value
  if [[ $OUTPUT == yes ]]; then
    ok "clock synchronised" "yes"
  elif (($(uptime_s) < SETTLING_S)); then
    skip "clock synchronised" "not yet, $(uptime_s) s after the boot"
  else
    fail "clock synchronised" "no: see timedatectl"
  fi
}

# A restart that is due is no fault: it waits for who uses the machine.
# Source: debian-policy, /run/reboot-required; /etc/kernel/postinst.d/unattended-upgrades.
check_restart() {
  if [[ -e $ROOT/run/reboot-required ]]; then
    local asked
    asked=$(sort --unique "$ROOT/run/reboot-required.pkgs" 2>/dev/null | paste -sd ' ')
    skip "no restart is due" "one is, for ${asked:-an update}: sudo systemctl reboot"
  else
    ok "no restart is due" "none"
  fi
}

# Updates remove no kernels: what they would take for unused is not reliable.
check_old_kernels() {
  run apt-get --simulate --quiet autoremove
  local old
  old=$(awk '$1 == "Remv" && $2 ~ /^linux-(image|headers|modules)-/ {print $2}' <<<"$OUTPUT" | paste -sd ' ')
  if ((CODE != 0)); then
    fail "old kernels" "$(explain apt-get)"
  elif [[ -n $old ]]; then
    skip "old kernels" "sudo apt-get autoremove removes $old"
  else
    ok "old kernels" "none"
  fi
}

check_users() {
  local user
  if ! user=$(read_json "$EXPECTATIONS" "d['admin_user']"); then
    skip "admin account" "$EXPECTATIONS names none"
  else
    check_admin "$user"
  fi
  local empty
  empty=$(getent shadow | awk -F : '$2 == "" {print $1}' | paste -sd ' ')
  if [[ -n $empty ]]; then fail "no empty password" "$empty"; else ok "no empty password" "none"; fi
}

check_admin() {
  if [[ " $(id --name --groups "$1" 2>/dev/null) " == *" sudo "* ]]; then
    ok "admin account" "$1 is in the group sudo"
  else
    fail "admin account" "$1 is missing or not in the group sudo"
  fi
}

check_security() {
  check_sshd
  check_firewall
  check_flush
  check_jail
  check_upgrades
}

check_sshd() {
  local settings port
  if ! settings=$(timeout "$LIMIT_S" sshd -T 2>&1); then
    fail "sshd configuration" "$(tail -n 1 <<<"$settings")"
    return
  fi
  port=$(awk '$1 == "port" {print $2; exit}' <<<"$settings")
  check_banner "$port"
  check_setting "$settings" passwordauthentication no
  check_setting "$settings" permitrootlogin no
}

check_banner() {
  # shellcheck disable=SC2016 # the inner shell expands them
  run bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && IFS= read -r line <&3 && echo "$line"' - "$1"
  if [[ $OUTPUT == SSH-2.0-* ]]; then
    ok "sshd answers" "${OUTPUT%$'\r'} on port $1"
  else
    fail "sshd answers" "nothing on port $1"
  fi
}

check_setting() {
  local value
  value=$(awk -v key="$2" '$1 == key {print $2; exit}' <<<"$1")
  if [[ $value == "$3" ]]; then
    ok "sshd $2" "$value"
  else
    fail "sshd $2" "${value:-unset}, wanted $3"
  fi
}

check_firewall() {
  run ufw status verbose
  if ((CODE != 0)); then
    fail "firewall active" "$(explain ufw)"
  elif ! grep -q '^Status: active' <<<"$OUTPUT"; then
    fail "firewall active" "$(head -n 1 <<<"$OUTPUT")"
  elif ! grep -qE '^Default: (deny|reject) \(incoming\)' <<<"$OUTPUT"; then
    fail "firewall active" "lets unlisted connections in: $(grep '^Default' <<<"$OUTPUT")"
  else
    ok "firewall active" "incoming connections are refused unless listed"
  fi
}

# What its package brings removes every rule when it starts or stops, also those of ufw and Docker.
check_flush() {
  run systemctl is-enabled nftables.service
  case $OUTPUT in
    *enabled*) fail "firewall is kept" "nftables.service is $OUTPUT: it flushes the rules of ufw, Docker and fail2ban" ;;
    *) ok "firewall is kept" "nftables.service is ${OUTPUT:-not there}" ;;
  esac
}

check_jail() {
  run fail2ban-client status sshd
  if ((CODE != 0)); then
    fail "fail2ban guards sshd" "$(explain fail2ban-client)"
  else
    ok "fail2ban guards sshd" "$(sed -n 's/.*Currently banned:[[:space:]]*/banned now: /p' <<<"$OUTPUT")"
  fi
}

check_upgrades() {
  run apt-config shell value APT::Periodic::Unattended-Upgrade
  case $OUTPUT in
    *"'0'"* | "") fail "security updates" "APT::Periodic::Unattended-Upgrade is off" ;;
    *) check_upgrade_timer ;;
  esac
}

check_upgrade_timer() {
  run systemctl is-enabled apt-daily-upgrade.timer
  case $OUTPUT in
    enabled) ok "security updates" "unattended, apt-daily-upgrade.timer is enabled" ;;
    *) fail "security updates" "apt-daily-upgrade.timer is ${OUTPUT:-unknown}" ;;
  esac
}

check_docker() {
  check "docker answers" docker info --format 'Engine {{.ServerVersion}}'
  check "docker compose" docker compose version
  check "docker buildx" docker buildx version
}

check_python() {
  check "python" python3 --version
  check "python venv" python3 -c 'import venv, ensurepip; print("venv and ensurepip")'
  check "uv" uv --version
}

begin_layer 1 "Judge layer 1: operating system, access, firewall, Docker, Python" "$@"
has_role common && check_common
has_role users && check_users
has_role security && check_security
has_role docker && check_docker
has_role python && check_python
finish
