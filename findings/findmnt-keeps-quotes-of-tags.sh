#!/bin/sh
# findmnt prints the quotes of a tag in fstab as part of the source.
#
# util-linux 2.38.1 (Debian 12). fstab(5) may write UUID="...", and mount(8) takes it. `findmnt
# --tab-file` leaves the quotes in SOURCE, in JSON too, so that its output compares unequal to
# `blkid -o export` and to the same line without quotes. A program that reads fstab by libmount's own
# tool must still strip them.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -q util-linux=2.38.1-5+deb12u3 >/dev/null 2>&1 ||
    { echo "util-linux 2.38.1-5+deb12u3 cannot be had" >&2; exit 2; }
dpkg-deb -x ./*.deb root
cat >fstab <<'TABLE'
UUID="0A1B-C2D3" /one vfat defaults 0 2
UUID=0A1B-C2D3 /two vfat defaults 0 2
LABEL="a\040b" /three ext4 defaults 0 2
TABLE
root/bin/findmnt --tab-file fstab --noheadings --raw --output TARGET,SOURCE | tee seen
cat >expected <<'SEEN'
/one UUID="0A1B-C2D3"
/two UUID=0A1B-C2D3
/three LABEL="a\x20b"
SEEN
cmp seen expected
echo "the quotes are part of the source"
