"""Role security: SSH, firewall, fail2ban, updates by themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pyinfra import host, logger

from deploy.facts.logins import ShortRsaKeys
from deploy.operations import apt, apt_timers, firewall, lockout, system, systemd
from deploy.operations.files import put_atomic
from deploy.operations.held import HELD
from deploy.roles.common import UNATTENDED
from deploy.runner import supported
from deploy.runner.data import read
from deploy.runner.role import Packages, role
from deploy.runner.sources import file_text, template_text

PACKAGES = ("fail2ban", "nftables", "openssh-server", "python3-systemd", "ufw",
            "unattended-upgrades")  # fmt: skip

FAIL2BAN_SANDBOX = "/etc/systemd/system/fail2ban.service.d/60-cube.conf"
#: What its package enables, or a first boot's presets, would do to a firewall.
#: Source: nftables.service, ExecStart= and ExecStop=; /etc/nftables.conf, "flush ruleset".
FLUSHES = (
    "its start and its stop remove all rules of ufw, Docker and fail2ban: disable it, or take"
    " 'flush ruleset' out of /etc/nftables.conf and override its ExecStop="
)

SSHD = "/etc/ssh/sshd_config.d/00-cube.conf"
SSH_SERVICE = "/etc/systemd/system/ssh.service.d/60-cube.conf"
AFTER_INIT = "/etc/ufw/after.init"
JAILS = "/etc/fail2ban/jail.d/cube.local"

#: ECDSA is left out: its curves are NIST's, and a weak random number betrays the key.
HOST_KEYS = ("/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key")
#: Source: NIST SP 800-57 part 1, table 2: 128 bits of strength, which are asked for from 2031 on.
RSA_BITS = 3072
#: Post-quantum hybrids first; what the release's sshd does not know, it would refuse.
#: Source: sshd_config(5), KexAlgorithms, of OpenSSH 10.0 and 9.6.
_KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org", "diffie-hellman-group16-sha512")
KEX = {
    "debian-13": ("mlkem768x25519-sha256", "sntrup761x25519-sha512", *_KEX),
    "ubuntu-24.04": ("sntrup761x25519-sha512@openssh.com", *_KEX),
}

#: Security updates, and the releases that they may need new packages of: both distributions allow
#: the same by default. Ubuntu's release never changes, Debian's at a point release.
#: Source: unattended-upgrades, README.md, "Supported Options Reference", Origins-Pattern;
#: 50unattended-upgrades of Debian 13 and of Ubuntu 24.04.
ORIGINS = {
    "debian-13": (
        "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
        "origin=Debian,codename=${distro_codename},label=Debian-Security",
        "origin=Debian,codename=${distro_codename},label=Debian",
    ),
    "ubuntu-24.04": (
        "origin=Ubuntu,archive=${distro_codename}-security",
        "origin=Ubuntu,archive=${distro_codename}",
        "origin=UbuntuESM,archive=${distro_codename}-infra-security",
        "origin=UbuntuESMApps,archive=${distro_codename}-apps-security",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Security:
    """What the role reads."""

    building: bool = False


@role("Security")
def security() -> Packages:
    """Close what need not be open, and keep it so."""
    data, name = read(Security), supported.check()
    # Before the packages: fail2ban and ufw start with their own settings, not the defaults.
    put_atomic(
        name="Describe fail2ban's sshd jail on the journal",
        dest=JAILS,
        content=template_text("security/fail2ban.local.j2", ports=firewall.ssh_ports()),
        read_by="fail2ban.service",
    )
    put_atomic(
        name="Close to fail2ban what it does not need",
        dest=FAIL2BAN_SANDBOX,
        content=file_text("security/fail2ban-sandbox.conf"),
        read_by="fail2ban.service",
    )
    yield PACKAGES
    harden_ssh(name, data)
    set_up_firewall(data)
    systemd.units(names="fail2ban.service", name="Run fail2ban", running=True)
    systemd.restart_if_older(
        name="Let fail2ban read its jails again",
        unit="fail2ban.service",
        than=(JAILS, FAIL2BAN_SANDBOX),
        check="fail2ban-client -t",
    )
    set_up_updates(name)


def harden_ssh(os_name: str, data: Security) -> None:
    """Allow keys only. Open connections survive the restart."""
    system.made_by(
        name="Have the host keys that sshd offers",
        files=HOST_KEYS,
        unit="cube-ssh-host-keys.service",
    )
    rsa_bits = RSA_BITS if data.building else shortest_key()
    change = changing(data)
    change(
        put_atomic,
        name="Allow SSH with keys only, not as root, with modern algorithms",
        dest=SSHD,
        content=template_text(
            "security/sshd.conf.j2", host_keys=HOST_KEYS, rsa_bits=rsa_bits, kex=KEX[os_name]
        ),
        validate="mkdir -p /run/sshd && sshd -t -f %s",
        read_by="ssh.service",
    )
    change(
        put_atomic,
        name="Let no connection fail while sshd restarts",
        dest=SSH_SERVICE,
        content=file_text("security/ssh-service.conf"),
        read_by="ssh.service",
    )
    change(
        systemd.restart_if_older,
        name="Let sshd read its settings again",
        unit="ssh.service",
        than=(SSHD, SSH_SERVICE),
        check="sshd -t",
    )
    if not data.building:
        lockout.confirm(name="Keep sshd's settings if a new login gets in")


def changing(data: Security) -> Callable[..., object]:
    """Return what runs an operation that could lock us out; a build's machine needs no care."""
    return (
        apply
        if data.building
        else partial(lockout.armed, program=file_text("security/cube-lockout"))
    )


def apply(inner: Callable[..., object], **arguments: object) -> None:
    """Run an operation as it is."""
    inner(**arguments)


def shortest_key() -> int:
    """Return how long an RSA key must be; nobody who is let in by a shorter one is locked out."""
    short = host.get_fact(ShortRsaKeys, bits=RSA_BITS)
    for owner, bits in host.loop(sorted(short.items())):
        logger.warning(
            f"{host.print_prefix}{owner}: a key of {bits} bits lets in, so RSA keys of that length"
            f" stay allowed: have it replaced by one of {RSA_BITS} bits or of Ed25519"
        )
    return min([RSA_BITS, *short.values()])


def set_up_firewall(data: Security) -> None:
    """Refuse what comes in except SSH; Docker's published ports are no way around it."""
    systemd.masked(
        name="Let nothing remove the rules of all firewalls",
        unit="nftables.service",
        harm=FLUSHES,
        by_anybody=data.building,
    )
    change = changing(data)
    change(
        put_atomic,
        name="Put Docker's published ports behind the firewall",
        dest=AFTER_INIT,
        content=file_text("security/ufw-docker"),
        mode="750",
        validate="sh -n %s",
    )
    change(firewall.deny_all_but_ssh, name="Refuse what comes in except SSH", files=(AFTER_INIT,))
    if not data.building:
        lockout.confirm(name="Keep the firewall if a new login gets in")


def set_up_updates(os_name: str) -> None:
    """Install security updates every day, but nothing that layer 2 pins."""
    put_atomic(
        name="Install security updates by themselves, NVIDIA's packages excepted",
        dest=UNATTENDED,
        content=template_text(
            "security/unattended-upgrades.j2", origins=ORIGINS[os_name], held=HELD
        ),
        tried_by=apt.READS,
    )
    apt_timers.release_timers(name="Let apt's timers run")
    systemd.units(
        names=("apt-daily.timer", "apt-daily-upgrade.timer", "unattended-upgrades.service"),
        name="Look for updates every day",
        running=True,
    )
