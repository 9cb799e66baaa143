#!/bin/sh
# Run as root in the guest, last thing before it is shut down: the base image proves that its
# first boot went well. The nonce that it leaves is read back from the disk by cube.baseimage.
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
    for unit in $(systemctl --failed --plain --no-legend | awk '{ print $1 }'); do
        journalctl --boot --no-hostname --output=short-monotonic --unit "$unit" --lines 15 >&2
    done
    fail "the system is $(systemctl is-system-running)"
}

# The root has grown: its partition to the end of the disk, a volume over its partition, and the
# file system over either. What may be left: a table at the end, LVM's own data, a block group.
within() { # WHAT HAVE OF LEFT: all three in bytes
    [ "$2" -ge $(($3 - $4)) ] || fail "$1 has $2 of $3 bytes: it did not grow"
}
root=$(findmnt --noheadings --nofsroot --output SOURCE /)
root_bytes=$(blockdev --getsize64 "$root")
lsblk --inverse --noheadings --raw --bytes --output TYPE,NAME,SIZE "$root" | sort -u >/run/cube-disks
part=$(awk '$1 == "part" { print $2 }' /run/cube-disks)
part_bytes=$(awk '$1 == "part" { print $3 }' /run/cube-disks)
disk_bytes=$(awk '$1 == "disk" { print $3 }' /run/cube-disks)
start_bytes=$(($(cat "/sys/class/block/$part/start") * 512))
within "the partition of the root" $((start_bytes + part_bytes)) "$disk_bytes" 2097152
within "the volume of the root" "$root_bytes" "$part_bytes" 8388608
within "the file system of the root" "$(dumpe2fs -h "$root" 2>/dev/null |
    awk -F: '/^Block count/ { count = $2 } /^Block size/ { print count * $2 }')" \
    "$root_bytes" 67108864

# Nobody gets in without a key.
! awk -F: '$2 == ""' /etc/shadow | grep . >&2 || fail "an account has an empty password"

update-grub 2>/dev/null
grep -Eq 'root=(LABEL=cube-root|/dev/mapper/cube-root) ' /boot/grub/grub.cfg ||
    fail "the boot menu does not name the root"

# The unit puts back what an update of GRUB and shim changes, within its sandbox.
bios=/boot/grub/i386-pc/boot.img efi=/boot/efi/EFI/BOOT/grubx64.efi
rm -f $bios $efi /var/lib/cube/boot-loader
systemctl start cube-boot-loader.service && [ -s $bios ] && [ -s $efi ] || {
    journalctl --boot --no-hostname --output=cat --unit=cube-boot-loader.service >&2
    fail "the boot loaders could not be installed: see the lines above"
}

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
