#!/bin/sh
# LVM writes the command that it was given, the host's name and its kernel onto the disk.
#
# lvm2 2.03.16 (Debian 12), as root; needs a loop device, no device mapper. The metadata area of a
# physical volume holds, in plain text, the whole command line of the last change (with the path of a
# file that --file named), `creation_host` with the name and `uname` of the machine that ran it, and
# every older version until the area wraps around. An image that is made on a build machine carries
# all of it. `lvm.conf` has no setting against it; a UTS namespace changes the name.
set -eu
[ "$(id -u)" -eq 0 ] || { echo "needs root" >&2; exit 2; }
folder=$(mktemp -d)
device=
trap '[ -z "$device" ] || losetup -d "$device"; rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -q lvm2=2.03.16-2 >/dev/null 2>&1 || { echo "lvm2 2.03.16-2 cannot be had" >&2; exit 2; }
dpkg-deb -x ./*.deb root
truncate -s 64M disk
device=$(losetup --find --show disk)
config="devices { filter=[\"a|^$device\$|\",\"r|.*|\"] use_devicesfile=0 } backup { backup=0 archive=0 }"
lvm() {
    name=$1
    shift
    "$folder/root/sbin/lvm" "$name" --driverloaded n --config "$config" "$@" >/dev/null 2>&1
}
lvm pvcreate "$device"
lvm vgcreate group "$device"
lvm vgcfgbackup --file "$folder/a-private-folder" group
lvm vgcfgrestore --file "$folder/a-private-folder" group
sync
strings disk | sed "s,^[[:space:]]*,," >text
grep -q "^description = \"Write from vgcreate " text
grep -q "^description = \"Write from vgcfgrestore .*--file $folder/a-private-folder group" text
grep -q "^creation_host = \"$(uname -n)\".*# Linux $(uname -n) $(uname -r) " text
grep '^description\|^creation_host' text | cut -c -60
echo "the disk names the host, its kernel, and the path of a file on it"
