#!/bin/sh
# grep --null-data --byte-offset leaves long runs of zero bytes out of its count.
#
# GNU grep 3.8 (Debian 12). One byte, 64 MiB of zeros, then a word: the offset of the word is
# 67,108,865. grep prints 163841 when it reads the file, and less, as the data come, when it reads a
# pipe. With newlines in the place of the zeros, and without --null-data, it prints the right number.
# Whoever searches a raw disk image for a text this way looks into the wrong block afterwards.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -q grep=3.8-5 >/dev/null 2>&1 || { echo "grep 3.8-5 cannot be had" >&2; exit 2; }
dpkg-deb -x ./*.deb root
right=$((64 * 1048576 + 1))
{ printf x; head -c 64M /dev/zero; printf needle; } >zeros
{ printf x; head -c 64M /dev/zero | tr '\0' '\n'; printf 'needle\n'; } >lines
export LC_ALL=C
seek() { root/bin/grep --text --only-matching --byte-offset "$@" needle | tr -d '\0' | cut -d: -f1; }
file=$(seek --null-data <zeros)
pipe=$(cat zeros | seek --null-data)
newlines=$(seek <lines)
echo "right $right, newlines $newlines, zeros in a file $file, zeros from a pipe $pipe"
[ "$newlines" -eq "$right" ] && [ "$file" -eq 163841 ] && [ "$pipe" -lt "$right" ]
