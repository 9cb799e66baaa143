#!/bin/sh
# Install what a build host needs: Debian packages, and the tool in .venv. Safe to run again.
# Usage: ./setup.sh   (make image and make test call it)
set -eu
cd "$(dirname "$0")"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

fail() {
    echo "setup: $1" >&2
    exit 4
}

install_packages() {
    command -v apt-get >/dev/null || fail "apt-get not found: install the packages of host-packages.txt by hand"
    wanted=$(sed 's/#.*//' host-packages.txt)
    missing=""
    for package in $wanted; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
    [ -z "$missing" ] && return
    echo "setup: installing$missing"
    as_root apt-get update -q
    case " $missing " in *" apt-cacher-ng "*) install_package_cache ;; esac
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}

# A build starts the program for itself, so Debian's service is neither started nor enabled.
# Source: invoke-rc.d(8), /usr/sbin/policy-rc.d: 101 forbids the start.
install_package_cache() {
    policy=/usr/sbin/policy-rc.d
    own=
    if [ ! -e "$policy" ]; then
        own=$policy
        # A shell that a signal ends does not run what EXIT asks for.
        trap 'as_root rm -f "$own"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM HUP
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends apt-cacher-ng
    as_root update-rc.d apt-cacher-ng disable
    [ -z "$own" ] || as_root rm -f "$own"
    trap - EXIT INT TERM HUP
}

# Debian 12 and Ubuntu 24.04 carry Packer 1.6; later releases have none (its licence changed),
# and there HashiCorp's own repository is used. Source: developer.hashicorp.com/packer/install
install_packer() {
    command -v packer >/dev/null && return
    if apt-cache show packer >/dev/null 2>&1; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends packer
        return
    fi
    echo "setup: adding HashiCorp's package repository for Packer"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends curl gpg
    keyring=/usr/share/keyrings/hashicorp-archive-keyring.gpg
    key=$(mktemp)
    curl -fsSL https://apt.releases.hashicorp.com/gpg -o "$key" || fail "HashiCorp's key cannot be fetched: install Packer by hand (developer.hashicorp.com/packer/install)"
    gpg --show-keys --with-colons "$key" | grep -q '^fpr:*798AEC654E5C15428C8E42EEAA16FCBCA621E701:' ||
        fail "HashiCorp's key has an unexpected fingerprint: install Packer by hand (developer.hashicorp.com/packer/install)"
    as_root gpg --batch --yes --dearmor -o "$keyring" "$key"
    rm -f "$key"
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    echo "deb [arch=amd64 signed-by=$keyring] https://apt.releases.hashicorp.com $codename main" |
        as_root tee /etc/apt/sources.list.d/hashicorp.list >/dev/null
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends packer
}

# The distribution's own Python: its headers are python3-dev, which libvirt-python is built with.
install_tool() {
    python=/usr/bin/python3
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$python" --version) is too old: use Debian 12, Ubuntu 24.04 or later"
    stamp=.venv/installed
    if [ -e "$stamp" ] && [ -z "$(find pyproject.toml requirements.lock setup.sh -newer "$stamp")" ]; then
        return
    fi
    echo "setup: installing the tool into .venv"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
    touch "$stamp"
}

# libvirt's QEMU driver does not start as root without this account, which only Debian's
# libvirt-daemon-system (with its daemon) would make. Source: docs/how-it-works.md
make_account() {
    getent passwd libvirt-qemu >/dev/null && return
    as_root useradd --system --user-group --no-create-home --shell /usr/sbin/nologin libvirt-qemu
}

install_packages
install_packer
make_account
install_tool
