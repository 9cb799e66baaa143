#!/bin/bash
# Makes a signed package archive with the names of NVIDIA's, of stand-ins: the module is a real one
# that DKMS builds, and does nothing. Runs on the machine and serves itself at port 8099 there; with
# a folder as its argument it makes the archive in that, and serves nothing.
set -euo pipefail

root=${1:-/srv/standin}
place=$root/debian13/x86_64
export GNUPGHOME=$root/gnupg
mkdir -p "$place" "$GNUPGHOME"
chmod 700 "$GNUPGHOME"
cd "$place"

# package NAME VERSION DEPENDS [TREE]: build one.
package() {
  local tree
  tree=$(mktemp -d)
  if [[ -n ${4:-} ]]; then cp -r "$4/." "$tree/"; fi
  mkdir -p "$tree/DEBIAN" "$tree/usr/share/cube/stand-ins"
  echo "$2" > "$tree/usr/share/cube/stand-ins/$1" # what is seen there is reported as simulated
  printf '%s\n' "Package: $1" "Version: $2" 'Architecture: amd64' \
    'Maintainer: A test <test@example>' ${3:+"Depends: $3"} 'Description: a stand-in' \
    > "$tree/DEBIAN/control"
  dpkg-deb --build --root-owner-group "$tree" "$place/$1_$2_amd64.deb" > /dev/null
}

# driver VERSION: every part of a driver.
driver() {
  local tree source name
  tree=$(mktemp -d)
  source=$tree/usr/src/nvidia-$1
  mkdir -p "$source" "$tree/DEBIAN"
  {
    printf 'PACKAGE_NAME=nvidia\nPACKAGE_VERSION=%s\nAUTOINSTALL=yes\n' "$1"
    # shellcheck disable=SC2016 # dkms expands them
    printf '%s\n' 'MAKE[0]="make -C $kernel_source_dir M=$dkms_tree/nvidia/$PACKAGE_VERSION/build modules"'
    local index=0
    for name in nvidia nvidia-uvm nvidia-modeset nvidia-drm; do
      printf 'BUILT_MODULE_NAME[%s]=%s\nDEST_MODULE_LOCATION[%s]=/updates/dkms\n' \
        "$index" "$name" "$index"
      index=$((index + 1))
    done
  } > "$source/dkms.conf"
  echo 'obj-m := nvidia.o nvidia-uvm.o nvidia-modeset.o nvidia-drm.o' > "$source/Makefile"
  for name in nvidia nvidia-uvm nvidia-modeset nvidia-drm; do
    cat > "$source/$name.c" << C
#include <linux/module.h>
const char *${name//-/_}_knows = "NVIDIA GeForce RTX 5090";
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("a stand-in");
MODULE_VERSION("$1");
C
  done
  echo 'MODULE_ALIAS("pci:v000010DEd*sv*sd*bc03sc00i00*");' >> "$source/nvidia.c"
  # shellcheck disable=SC2016 # dpkg's argument
  printf '#!/bin/sh\nexec /usr/lib/dkms/common.postinst nvidia %s /usr/share/nvidia "" "$2"\n' "$1" \
    > "$tree/DEBIAN/postinst"
  chmod 755 "$tree/DEBIAN/postinst"
  package nvidia-kernel-open-dkms "$1-1" 'dkms' "$tree"

  tree=$(mktemp -d)
  mkdir -p "$tree/usr/lib/x86_64-linux-gnu"
  echo 'int cuInit(unsigned flags) { return flags + 100; }' \
    | gcc -shared -Wl,-soname,libcuda.so.1 -x c - -o "$tree/usr/lib/x86_64-linux-gnu/libcuda.so.$1"
  ln -s "libcuda.so.$1" "$tree/usr/lib/x86_64-linux-gnu/libcuda.so.1"
  package libcuda1 "$1-1" '' "$tree"
  package nvidia-driver-cuda "$1-1" "libcuda1 (= $1-1)"

  tree=$(mktemp -d)
  mkdir -p "$tree/usr/lib/systemd/system" "$tree/usr/bin"
  ln -s false "$tree/usr/bin/nvidia-persistenced"
  printf '%s\n' '[Service]' 'Type=forking' \
    'ExecStart=/usr/bin/nvidia-persistenced --user nvpd --no-persistence-mode --verbose' \
    '[Install]' 'WantedBy=multi-user.target' \
    > "$tree/usr/lib/systemd/system/nvidia-persistenced.service"
  package nvidia-persistenced "$1-1" '' "$tree"
}

driver 580.95.05
driver 590.44.01
tree=$(mktemp -d)
mkdir -p "$tree/etc/apt/preferences.d"
printf '%s\n' 'Package: nvidia-* libnvidia-* libcuda1' 'Pin: version 580.*' 'Pin-Priority: 1000' \
  > "$tree/etc/apt/preferences.d/nvidia-driver-pinning"
package nvidia-driver-pinning-580 580-1 '' "$tree"
package cuda-toolkit-13-0 13.0.2-1 ''
package cudnn9-cuda-13 9.14.0.64-1 ''

dpkg-scanpackages --multiversion . > Packages 2> /dev/null
{
  printf '%s\n' 'Origin: NVIDIA' 'Label: NVIDIA CUDA' "Date: $(date --utc --rfc-email)" 'SHA256:'
  printf ' %s %s Packages\n' "$(sha256sum Packages | cut -d ' ' -f 1)" "$(stat -c %s Packages)"
} > Release
gpg --batch --quiet --passphrase '' --quick-generate-key 'A stand-in <test@example>' rsa3072 sign never
gpg --batch --quiet --armor --export > 8793F200.pub
gpg --batch --quiet --clearsign --output InRelease Release
if [[ -z ${1:-} ]]; then
  systemd-run --quiet --unit standin python3 -m http.server --bind 127.0.0.1 --directory $root 8099
fi
gpg --show-keys --with-colons 8793F200.pub | awk -F : '/^fpr/ { print $10; exit }'
gpgconf --kill all
