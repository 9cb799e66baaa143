"""A cube looks after itself: logs, swap, restarts, and what packages recommend."""

import re

import pytest
from testinfra.host import Host

from cube.config import Spec

SWAP_FILE = "/swap.img"
MIB = 1 << 20
#: Prints how needrestart is set, all of its files read as it reads them.
#: Source: needrestart, ex/needrestart.conf, the last lines.
NEEDRESTART = (
    'our %nrconf; do "/etc/needrestart/needrestart.conf"; die $@ if $@; print $nrconf{restart}'
)
#: Units that run as root and belong to us, or were closed by us.
UNITS = [
    "cube-grow-root.service",
    "cube-ssh-host-keys.service",
    "cube-swap.service",
    "fail2ban.service",
]
#: Exposure in tenths. Source: systemd-analyze(1), security --threshold.
MOST_EXPOSED = 50


def test_logs_are_rotated(host: Host) -> None:
    states = host.run("systemctl is-enabled logrotate.timer; systemctl is-active logrotate.timer")
    assert states.stdout.split() == ["enabled", "active"]


def test_rules_for_logs_are_valid(host: Host) -> None:
    done = host.run("logrotate --debug /etc/logrotate.conf")
    assert (done.rc, re.findall(r"^error: .*", done.stderr, re.MULTILINE)) == (0, [])


def test_updates_restart_no_service(host: Host) -> None:
    assert host.check_output("perl -e %s", NEEDRESTART) == "l"


def test_who_asks_is_told_what_waits_for_a_restart(host: Host) -> None:
    assert "NEEDRESTART-VER" in host.check_output("needrestart -b -r l")


def test_a_new_kernel_asks_for_a_restart(host: Host) -> None:
    # Source: /etc/kernel/postinst.d/unattended-upgrades writes /run/reboot-required.
    assert host.file("/etc/kernel/postinst.d/unattended-upgrades").mode & 0o111


def test_nobody_is_asked_for_names_by_multicast(host: Host) -> None:
    # Source: RFC 4795 (LLMNR) and RFC 6762 (mDNS).
    sockets = host.check_output("ss --tcp --udp --listening --numeric --processes --no-header")
    rows = [line.split() for line in sockets.splitlines() if "systemd-resolve" in line]
    assert rows, "systemd-resolved does not listen at all"
    assert [row[4] for row in rows if row[4].endswith((":5353", ":5355"))] == []


def test_admin_can_ping(host: Host, spec: Spec) -> None:
    assert host.run("runuser -u %s -- ping -c 1 -W 5 127.0.0.1", spec.admin.user).rc == 0


@pytest.mark.parametrize("unit", UNITS)
def test_a_service_has_only_what_it_needs(host: Host, unit: str) -> None:
    analyze = f"systemd-analyze security --no-pager --threshold={MOST_EXPOSED} {unit}"
    done = host.run(analyze)
    assert done.rc == 0, done.stdout.splitlines()[-1]


# --- swap


@pytest.fixture(scope="module")
def swap_mib(host: Host) -> int:
    """Size of the file that swaps; 0 where there is none. One page of it is the header."""
    rows = host.check_output("swapon --show=NAME,SIZE --bytes --noheadings --raw").splitlines()
    sizes = {name: int(size) for name, size in map(str.split, rows)}
    return round(sizes.get(SWAP_FILE, 0) / MIB)


@pytest.mark.needs("kernel")
def test_the_swap_file_is_the_one_asked_for(swap_mib: int, spec: Spec) -> None:
    assert swap_mib == spec.image.swap


def test_nobody_else_reads_what_was_swapped_out(host: Host) -> None:
    file = host.file(SWAP_FILE)
    assert not file.exists or (file.user, file.mode) == ("root", 0o600)


# --- recommended packages


#: What our packages recommend, and this system does not have, with the reason why not.
REVIEWED = {
    "a root on an encrypted disk, which is not supported": ["busybox", "cryptsetup-initramfs"],
    "translations and manual pages of the C library": [
        "debconf-i18n",
        "e2fsprogs-l10n",
        "gnupg-l10n",
        "iso-codes",
        "libgpg-error-l10n",
        "manpages",
        "manpages-dev",
    ],
    "nothing is forwarded to or from a screen": ["xauth"],
    "file systems and volumes that are not used": ["thin-provisioning-tools"],
    "the resolver is asked at its own address": ["libnss-resolve"],
    "capabilities are given to services, not to logins": ["libpam-cap"],
    "a convenience that nothing of ours uses": [
        "apport-symptoms",
        "criu",
        "eatmydata",
        "gdisk",
        "libatm1",
        "libatm1t64",
        "libgpm2",
        "ncurses-term",
        "networkd-dispatcher",
        "pigz",
        "python3-rich",
        "ssh-import-id",
        "systemd-hwe-hwdb",
        "ubuntu-fan",
        "uuid-runtime",
        "whois",
    ],
    "fail2ban reads the journal, not files": ["python3-pyinotify", "python3-setuptools"],
    "the disk's own boot chain is written by the build": [
        "efibootmgr",
        "grub-efi-amd64-signed",
        "os-prober",
        "shim-signed",
    ],
    "mail is not sent": ["default-mta", "mail-transport-agent", "bsd-mailx", "mailx"],
}
#: Whose recommendations count: what layer 1 builds on, and what it brings.
FOUNDATION = re.compile(
    r"apparmor|apt|base-files|bash|ca-certificates|cloud-(guest-utils|init)|containerd|coreutils"
    r"|debconf|docker\.io|dpkg|e2fsprogs|fail2ban|grub-.*|initramfs-tools(-core)?|iproute2"
    r"|iptables|iputils-ping|libc-bin|libcap2-bin|libpam.*|libnss.*|linux-image-.*|locales"
    r"|logrotate|lvm2|needrestart|netplan\.io|nftables|openssh-.*|passwd|procps|python3|python3-apt"
    r"|runc|sudo|systemd.*|udev|ufw|unattended-upgrades|util-linux"
)
FIELDS = r"${db:Status-Abbrev}\t${Package}\t${Provides}\t${Recommends}\n"


def alternatives(field: str) -> list[list[str]]:
    """Split a field of relations: each group is met by any of its names.

    Source: deb-control(5), "a | b (>= 1) [amd64], c".
    """
    groups = [group.split("|") for group in field.split(",") if group.strip()]
    return [[re.split(r"[\s(:\[<]", name.strip())[0] for name in group] for group in groups]


def test_no_recommended_package_is_missing_without_a_reason(host: Host) -> None:
    listed = host.check_output("dpkg-query --show --showformat %s", FIELDS).splitlines()
    rows = [line.split("\t") for line in listed]
    installed = [row[1:] for row in rows if row[0][1:2] == "i"]
    there = {name for name, _, _ in installed}
    there |= {
        one for _, provides, _ in installed for group in alternatives(provides) for one in group
    }
    known = {name for names in REVIEWED.values() for name in names}
    lost = {
        f"{' | '.join(group)} (for {name})"
        for name, _, recommends in installed
        if FOUNDATION.fullmatch(name)
        for group in alternatives(recommends)
        if not there.intersection(group) and not known.intersection(group)
    }
    assert lost == set()
