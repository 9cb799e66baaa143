#!/bin/sh
# Makes a provisioned machine into a golden image: removes what belongs to one machine or to
# its build, then powers off so that nothing is written back.
#
# Runs as root inside the guest, detached from any login, because it deletes the account that
# started it: systemd-run ... sh /run/cube-seal/clean.sh. Settings come from
# /run/cube-seal/settings. Each step either works or ends the whole: the host believes nothing
# but the file $DONE, which is written last and read from the disk once the machine is off.
set -eu

STATE=/run/cube-seal
DONE=/var/lib/cube/sealed
FAILED=/var/lib/cube/seal-failed
ROOT=$STATE/root # the root file system alone, without what is mounted over it

# Written by cube.seal.sealing: BUILD_USER, BUILD_KEY (the public key's base64), KEEP_CA and KEEP_IMAGES
# (yes or no), PROXY (may be empty), REMAINS (regular expressions of what is the build's, a line each).
# shellcheck source=/dev/null
. "$STATE/settings"

STEP=starting

step() {
    STEP=$1
    printf '== %s\n' "$STEP"
    echo "cube-seal: $STEP" >/dev/console || true # for whoever looks at the console
    "$STEP"
}

fail() {
    echo "$*" >&2
    exit 1
}

# Whatever happens, the machine goes off: a failure leaves its name and the log on the disk.
finish() {
    code=$?
    trap - EXIT
    if [ "$code" -ne 0 ]; then
        rm -f "$DONE"
        mkdir -p "${FAILED%/*}"
        { echo "step $STEP: exit code $code"; cat "$STATE/log"; } >"$FAILED" || true
    fi
    sync
    # --force skips the stopping of units: none of them saves a random seed or a log any more.
    # Source: systemctl(1), "--force".
    systemctl poweroff --force
}

# --- what still writes ------------------------------------------------------------------------

units() {
    systemctl list-units --plain --no-legend --full "$@" |
        awk '$1 !~ /^(cube-seal|dbus|systemd-udevd|console-getty|serial-getty)/ { print $1 }'
}

# Timers and sockets first, or they start again what is stopped after them. Only what runs:
# stopping a oneshot such as systemd-random-seed or blk-availability would do harm.
stop_writers() {
    # A unit may end by itself between listing and stopping, hence "true"; journald, the one
    # that matters, is looked at below.
    # shellcheck disable=SC2046
    systemctl stop $(units --state=active --type=timer,path,socket) || true
    # shellcheck disable=SC2046
    systemctl stop $(units --state=running --type=service) || true
    if systemctl is-active --quiet systemd-journald.service; then
        fail "systemd-journald still runs"
    fi
}

end_sessions() {
    id "$BUILD_USER" >/dev/null 2>&1 || return 0
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        pkill -KILL -u "$BUILD_USER" || return 0
        sleep 0.5
    done
    fail "processes of $BUILD_USER do not end"
}

# Swapped-out pages hold whatever the build had in memory; each box makes a file of its own.
remove_swap() {
    swapoff /swap.img 2>/dev/null || true
    rm -f /swap.img /swap.img.new
}

# --- what belongs to the build ----------------------------------------------------------------

remove_build_user() {
    if id "$BUILD_USER" >/dev/null 2>&1; then
        userdel --remove --force "$BUILD_USER" 2>&1
    fi
    rm -rf "/home/${BUILD_USER:?}" "/var/mail/$BUILD_USER" "/var/spool/cron/crontabs/$BUILD_USER" \
        "/var/lib/sudo/lectured/$BUILD_USER" "/run/sudo/ts/$BUILD_USER" \
        "/var/lib/AccountsService/users/$BUILD_USER" "/var/lib/systemd/linger/$BUILD_USER"
    rm -f /etc/sudoers.d/90-cloud-init-users "/etc/sudoers.d/$BUILD_USER"
}

remove_build_trust() {
    rm -rf /root/.ssh /etc/apt/apt.conf.d/90cloud-init-aptproxy \
        /etc/apt/apt.conf.d/90curtin-aptproxy
    find /etc -xdev -depth -name '*cube-build*' -exec rm -rf {} +
    if [ "$KEEP_CA" = no ] && ls /usr/local/share/ca-certificates/cube-build-*.crt >/dev/null 2>&1; then
        rm -f /usr/local/share/ca-certificates/cube-build-*.crt
        update-ca-certificates --fresh
    fi
}

# Layer 1 masks apt's timers so that they do not run while a build uses apt.
restore_updates() {
    systemctl unmask apt-daily.timer apt-daily-upgrade.timer
}

# A first boot, should anything make one of a start, leaves units as they are.
keep_units() {
    sh "$STATE/presets.sh"
}

# Nothing of the build may be left in what people read and daemons obey.
search_for_remains() {
    for word in "$BUILD_USER" "$BUILD_KEY" "$PROXY"; do
        [ -n "$word" ] || continue
        # Not among grep's words: a proxy or a mirror may have a password, and ps shows them.
        printf '%s\n' "$word" >"$STATE/words"
        found=$(search "/etc /root /home" -F)
        [ -z "$found" ] || fail "still mentions the build (its user, key or proxy): $found"
    done
    [ -n "$REMAINS" ] || return 0
    printf '%s\n' "$REMAINS" >"$STATE/words"
    found=$(search "/etc /root /home /opt /usr/local /var/cache /var/lib" -iE)
    [ -z "$found" ] || fail "still mentions a mirror of the build, or its login: $found"
}

# Names files that say one of $STATE/words; what containers and packages bring is not the build's.
search() { # FOLDERS GREP'S OPTIONS...
    folders=$1
    shift
    # shellcheck disable=SC2086 # several
    find $folders -xdev -type f -size -1024k -not -path '/var/lib/docker/*' \
        -not -path '/var/lib/containerd/*' -not -path '/var/lib/dpkg/info/*' \
        -exec grep -l "$@" -f "$STATE/words" {} + || true
}

# --- what belongs to one machine --------------------------------------------------------------

clean_cloud_init() {
    command -v cloud-init >/dev/null || return 0
    cloud-init clean --logs --seed
    rm -rf /var/lib/cloud /etc/cloud/cloud-init.disabled /etc/netplan/50-cloud-init.yaml \
        /etc/ssh/sshd_config.d/50-cloud-init.conf /etc/systemd/network/10-cloud-init-*
}

# Subiquity turns off cloud-init's growpart and names its own data source.
# Source: canonical/subiquity, subiquity/models/subiquity.py; curtin, commands/curthooks.py.
clean_installer() {
    rm -rf /var/log/installer /var/log/curtin /root/curtin* /autoinstall* /usr/sbin/policy-rc.d \
        /etc/netplan/00-installer-config* /etc/cloud/clean.d/99-installer \
        /etc/cloud/ds-identify.cfg /etc/cloud/cloud.cfg.d/99-installer.cfg \
        /etc/cloud/cloud.cfg.d/90-installer-network.cfg \
        /etc/cloud/cloud.cfg.d/50-curtin-networking.cfg \
        /etc/cloud/cloud.cfg.d/curtin-preserve-sources.cfg \
        /etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg
}

# What names the resolvers that the build had; systemd-resolved makes its own file at each boot.
clean_resolvers() {
    rm -f /etc/.resolv.conf.systemd-resolved.bak /etc/resolv.conf.* /etc/resolvconf/run/* \
        /etc/resolvconf/resolv.conf.d/original
    if [ ! -L /etc/resolv.conf ] && grep -q '^nameserver' /etc/resolv.conf 2>/dev/null; then
        fail "/etc/resolv.conf is a file with the resolver of the build"
    fi
}

# Docker and containerd note names of every container and network that a check has made. Both make
# their folders at the next start; images that the image shall have stay.
clean_engines() {
    if [ "$KEEP_IMAGES" = no ]; then
        find /var/lib/docker /var/lib/containerd -xdev -mindepth 1 -delete 2>/dev/null || true
        return 0
    fi
    for folder in builder buildkit containers network plugins swarm tmp trust volumes; do
        rm -rf "/var/lib/docker/$folder"
    done
}

# Without a file of its own the image would come up without a network.
check_network() {
    find /etc/netplan /etc/systemd/network /etc/network/interfaces.d -type f 2>/dev/null |
        grep -q . || fail "no network configuration is left in /etc/netplan"
}

# Empty, not "uninitialized": that would make the next boot a first boot, which applies unit
# presets and so enables again what the layers turned off. Source: machine-id(5).
clean_identity() {
    if mountpoint -q /etc/machine-id; then umount /etc/machine-id; fi
    : >/etc/machine-id
    rm -f /var/lib/dbus/machine-id /etc/ssh/ssh_host_* /etc/hostid /etc/nvme/hostnqn \
        /etc/nvme/hostid /etc/popularity-contest.conf /var/cache/pollinate/seeded
    rm -f /var/lib/docker/engine-id /etc/docker/key.json
    if [ -f /etc/iscsi/initiatorname.iscsi ]; then
        echo GenerateName=yes >/etc/iscsi/initiatorname.iscsi
    fi
}

clean_seeds() {
    rm -f /var/lib/systemd/random-seed /var/lib/urandom/random-seed \
        /boot/efi/loader/random-seed /var/lib/systemd/credential.secret
    # What signs modules for Secure Boot; Ubuntu's shim-signed makes a key, too, beside DKMS.
    rm -f /var/lib/dkms/mok.key /var/lib/dkms/mok.pub /var/lib/cube/mok-password \
        /var/lib/shim-signed/mok/MOK.priv /var/lib/shim-signed/mok/MOK.der
    rm -rf /var/lib/systemd/coredump/* /var/lib/systemd/pstore/* /var/lib/systemd/timers/* \
        /var/lib/private/systemd/timesync/clock /var/lib/systemd/timesync/clock
}

clean_network_state() {
    rm -rf /var/lib/dhcp/* /var/lib/dhcpcd/* /etc/dhcpcd.duid /etc/dhcpcd.secret \
        /var/lib/NetworkManager/* /var/lib/systemd/network/* \
        /etc/udev/rules.d/70-persistent-net.rules /etc/udev/rules.d/75-persistent-net-generator.rules \
        /etc/udev/rules.d/85-persistent-net-cloud-init.rules \
        /etc/lvm/archive/* /etc/lvm/backup/* /etc/lvm/devices/system.devices \
        /etc/multipath/wwids /etc/multipath/bindings
}

# --- what a build piles up --------------------------------------------------------------------

clean_packages() {
    apt-get clean
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/lib/apt/periodic/* \
        /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/backups/* \
        /var/lib/ubuntu-advantage/private
    rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- \
        /etc/ufw/*.rules.[0-9]*
}

clean_homes() {
    for home in /root /home/*; do
        [ -d "$home" ] || continue
        rm -rf "$home"/.cache "$home"/.pyinfra* "$home/core" "$home/.ssh/known_hosts" \
            "$home/.ssh/known_hosts.old" "$home/.bash_history" "$home/.zsh_history" \
            "$home/.python_history" "$home/.lesshst" "$home/.viminfo" "$home/.wget-hsts" \
            "$home/.sudo_as_admin_successful"
        # A session of the administrator, opened by a check, makes the folder for group root.
        if [ -d "$home/.ssh" ]; then
            rmdir --ignore-fail-on-non-empty "$home/.ssh"
            find "$home/.ssh" -exec chown --no-dereference --reference="$home" {} + 2>/dev/null || true
        fi
    done
}

# Files go, folders stay: packages made them with the right owner and do not make them again.
clean_logs() {
    find /var/log -type f -delete
    rm -rf /var/log/journal/* /var/crash/* /var/lib/apport/coredump/* /var/mail/* /var/spool/rsyslog/* /var/lib/logrotate/status \
        /var/lib/fail2ban/fail2ban.sqlite3* /var/lib/cube/health.json \
        /var/lib/wtmpdb/* /var/lib/lastlog/*
    find / -xdev -maxdepth 1 -type f -name 'core*' -delete
}

# Through a second mount, which also shows what lies beneath a tmpfs.
clean_scratch() {
    mkdir -p "$ROOT"
    mount --bind / "$ROOT"
    for folder in tmp var/tmp run; do
        find "$ROOT/$folder" -xdev -mindepth 1 -delete
    done
    umount "$ROOT"
    find /var/tmp /tmp -xdev -mindepth 1 -delete
}

# --- the end ----------------------------------------------------------------------------------

# Frees the blocks of all that was deleted: a third of the artifact, and secrets with it.
trim() {
    sync
    fstrim --verbose /
    for folder in /boot /boot/efi; do
        if mountpoint -q "$folder"; then fstrim --verbose "$folder"; fi
    done
}

mark_done() {
    mkdir -p "${DONE%/*}"
    rm -f "$FAILED"
    date -u +%Y-%m-%dT%H:%M:%SZ >"$DONE"
}

trap finish EXIT
exec >"$STATE/log" 2>&1
step stop_writers
step end_sessions
step remove_swap
step clean_cloud_init
step clean_installer
step check_network
step clean_resolvers
step clean_engines
step restore_updates
step keep_units
step remove_build_user
step remove_build_trust
step clean_homes
step clean_identity
step clean_seeds
step clean_network_state
step clean_packages
step search_for_remains
step clean_logs
step clean_scratch
step trim
step mark_done
