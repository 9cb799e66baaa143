#!/bin/sh
# mkfs.fat chooses the cluster size by the size of the whole file, not of the file system.
#
# dosfstools 4.2, mtools 4.0.32 (Debian 12). An EFI system partition of 512 MiB is made inside a disk
# image with --offset and a block count. In an image of 2 GiB it gets clusters of 4 KiB and is read.
# In an image of 16 GiB the same command gives clusters of 8 KiB: 65,469 of them, fewer than the
# 65,525 that make a FAT a FAT32. mkfs.fat warns on stderr and ends with 0; mtools then refuses the
# file system ("Error reading FAT"). -s 8 settles it.
#
# Source of the limit: Microsoft, FAT specification, "FAT type determination".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -q dosfstools=4.2-1 mtools=4.0.33-1+really4.0.32-1 >/dev/null 2>&1 ||
    { echo "the pinned packages cannot be had" >&2; exit 2; }
for package in ./*.deb; do dpkg-deb -x "$package" root; done
PATH="$folder/root/sbin:$folder/root/usr/sbin:$folder/root/usr/bin:$PATH"

make() { # SIZE [OPTION...]
    rm -f disk && truncate -s "$1" disk
    shift
    mkfs.fat -v -F 32 "$@" --offset 4096 disk 524288 2>warning | grep -o 'provides [0-9]* clusters'
}

read_it() { mdir -i disk@@2M :: >/dev/null 2>said; }

small=$(make 2G)
read_it || { echo "the image of 2 GiB is not read: the behaviour has changed" >&2; exit 1; }
large=$(make 16G)
code=0
read_it || code=$?
echo "2 GiB: $small, read"
echo "16 GiB: $large, mtools ends with $code: $(head -n 1 said)"
[ "$small" = "provides 130811 clusters" ] && [ "$large" = "provides 65469 clusters" ]
[ "$code" -eq 1 ] && grep -q 'Error reading FAT' said && grep -q 'less then' warning
make 16G -s 8 >/dev/null
read_it
echo "16 GiB with -s 8: read"
