#!/bin/sh
# apt-get indextargets leaves out index files that are not downloaded yet.
#
# apt 2.6.1 (Debian 12). apt-get(8) says that it lists all index targets that an update would download;
# only the developers' document in apt-doc says "downloaded". It lists those that are on the disk: with
# sources and no lists it prints nothing and ends with 0, and where one component's list is gone it shows
# the other alone. A program that asks it which sources a machine has sees none on a machine that has
# never updated.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -q apt=2.6.1 libapt-pkg6.0=2.6.1 >/dev/null 2>&1 ||
    { echo "apt 2.6.1 cannot be had" >&2; exit 2; }
for package in ./*.deb; do dpkg-deb -x "$package" root; done

mkdir -p archive/dists/one/main/binary-amd64 archive/dists/one/extra/binary-amd64 \
    state/lists/partial cache/archives/partial etc/apt.conf.d etc/preferences.d etc/sources.list.d
for component in main extra; do
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nFilename: x.deb\nSize: 1\nSHA256: %064d\n' \
        "$component" 0 >archive/dists/one/$component/binary-amd64/Packages
done
(
    cd archive/dists/one
    printf 'Suite: one\nCodename: one\nArchitectures: amd64\nComponents: main extra\nSHA256:\n'
    for file in */binary-amd64/Packages; do
        echo " $(sha256sum <$file | cut -c 1-64) $(wc -c <$file) $file"
    done
) >release
mv release archive/dists/one/Release
echo "deb [trusted=yes] file:$folder/archive one main extra" >etc/sources.list
: >status
cat >apt.conf <<CONFIG
Dir "$folder";
Dir::State "state";
Dir::State::status "$folder/status";
Dir::Cache "cache";
Dir::Etc "etc";
Dir::Bin::methods "$folder/root/usr/lib/apt/methods/";
APT::Architecture "amd64";
APT::Architectures:: "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::GzipIndexes "false";
Debug::NoLocking "true";
CONFIG
get() {
    APT_CONFIG=$folder/apt.conf LD_LIBRARY_PATH=$folder/root/usr/lib/x86_64-linux-gnu \
        root/usr/bin/apt-get "$@"
}
targets() {
    get indextargets --format '$(COMPONENT)' 'Identifier: Packages' | sort | xargs
}

echo "before an update: '$(targets)'" | tee seen
get -q update >/dev/null 2>&1
echo "after an update: '$(targets)'" | tee -a seen
rm state/lists/*_extra_binary-amd64_Packages archive/dists/one/extra/binary-amd64/Packages
echo "without the file of one component: '$(targets)'" | tee -a seen
cat >expected <<'SEEN'
before an update: ''
after an update: 'extra main'
without the file of one component: 'main'
SEEN
cmp seen expected
echo "only what is on the disk is listed"
