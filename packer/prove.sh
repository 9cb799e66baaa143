#!/bin/sh
# Run as root in the guest, last thing before it is shut down: the base image proves that its
# first boot went well. The nonce that it leaves is read back from the disk by cube.packer.
set -eu

fail() {
    echo "cube: $1" >&2
    exit 1
}

cloud-init status --wait >/dev/null || {
    cloud-init status --long >&2
    fail "cloud-init did not end well"
}

# Every unit is up, none has failed.
systemctl is-system-running --wait >/dev/null || {
    systemctl --failed --no-legend >&2
    fail "the system is $(systemctl is-system-running)"
}

# The root has grown to the disk: a root of the bare disk's size would be far below this share.
root=$(findmnt --noheadings --output SOURCE /)
disk_bytes=$(lsblk --inverse --noheadings --raw --bytes --output TYPE,SIZE "$root" |
    awk '$1 == "disk" { print $2; exit }')
root_bytes=$(df --block-size=1 --output=size / | tail -n 1)
[ "$root_bytes" -ge $((disk_bytes / 100 * 60)) ] ||
    fail "the root has $root_bytes bytes of a disk of $disk_bytes: it did not grow"

# Nobody gets in without a key.
! awk -F: '$2 == ""' /etc/shadow | grep . >&2 || fail "an account has an empty password"

update-grub 2>/dev/null
grep -Eq 'root=(LABEL=cube-root|/dev/mapper/ubuntu--vg-ubuntu--lv) ' /boot/grub/grub.cfg ||
    fail "the boot menu does not name the root"

# What this kernel's AppArmor can do: layer 1 compiles the profiles for it, where that is quick.
features=/sys/kernel/security/apparmor/features
if [ -d "$features" ]; then
    rm -rf /usr/share/cube/apparmor-features
    mkdir -p /usr/share/cube
    cp -r "$features" /usr/share/cube/apparmor-features
fi

mkdir -p /var/lib/cube
echo "$CUBE_NONCE" >/var/lib/cube/base
sync
echo "cube: proven, root has $((root_bytes / 1024 / 1024)) MiB"
