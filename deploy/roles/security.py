"""Role security: SSH, firewall, fail2ban, updates by themselves."""

from deploy import supported
from deploy.held import HELD
from deploy.operations import apt_timers, firewall, systemd
from deploy.operations.files import put_atomic
from deploy.role import Packages, role
from deploy.roles.common import UNATTENDED
from deploy.sources import file_text, template_text

PACKAGES = ("fail2ban", "nftables", "openssh-server", "python3-systemd", "ufw",
            "unattended-upgrades")  # fmt: skip

SSHD = "/etc/ssh/sshd_config.d/00-cube.conf"
SSH_SERVICE = "/etc/systemd/system/ssh.service.d/60-cube.conf"
AFTER_INIT = "/etc/ufw/after.init"
JAILS = "/etc/fail2ban/jail.d/cube.local"

#: Post-quantum hybrids first; what the release's sshd does not know, it would refuse.
#: Source: sshd_config(5), KexAlgorithms, of OpenSSH 10.0 and 9.6.
_KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org", "diffie-hellman-group16-sha512")
KEX = {
    "debian-13": ("mlkem768x25519-sha256", "sntrup761x25519-sha512", *_KEX),
    "ubuntu-24.04": ("sntrup761x25519-sha512@openssh.com", *_KEX),
}

#: Source: unattended-upgrades, README.md, "Supported Options Reference", Origins-Pattern.
ORIGINS = {
    "debian-13": (
        "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
        "origin=Debian,codename=${distro_codename},label=Debian-Security",
    ),
    "ubuntu-24.04": (
        "origin=Ubuntu,archive=${distro_codename}-security",
        "origin=UbuntuESM,archive=${distro_codename}-infra-security",
        "origin=UbuntuESMApps,archive=${distro_codename}-apps-security",
    ),
}


@role("Security")
def security() -> Packages:
    """Close what need not be open, and keep it so."""
    name = supported.check()
    # Before the packages: fail2ban and ufw start with their own settings, not the defaults.
    put_atomic(
        name="Describe fail2ban's sshd jail on the journal",
        dest=JAILS,
        content=file_text("security/fail2ban.local"),
    )
    yield PACKAGES
    harden_ssh(name)
    set_up_firewall()
    systemd.units(names="fail2ban.service", name="Run fail2ban", running=True)
    systemd.restart_if_older(
        name="Let fail2ban read its jails again",
        unit="fail2ban.service",
        than=(JAILS,),
        check="fail2ban-client -t",
    )
    set_up_updates(name)


def harden_ssh(os_name: str) -> None:
    """Allow keys only. Open connections survive the restart."""
    put_atomic(
        name="Allow SSH with keys only, not as root, with modern algorithms",
        dest=SSHD,
        content=template_text("security/sshd.conf.j2", kex=KEX[os_name]),
        validate="mkdir -p /run/sshd && sshd -t -f %s",
    )
    put_atomic(
        name="Let no connection fail while sshd restarts",
        dest=SSH_SERVICE,
        content=file_text("security/ssh-service.conf"),
    )
    systemd.restart_if_older(
        name="Let sshd read its settings again",
        unit="ssh.service",
        than=(SSHD, SSH_SERVICE),
        check="sshd -t",
    )


def set_up_firewall() -> None:
    """Refuse what comes in except SSH; Docker's published ports are no way around it."""
    put_atomic(
        name="Put Docker's published ports behind the firewall",
        dest=AFTER_INIT,
        content=file_text("security/ufw-docker"),
        mode="750",
        validate="sh -n %s",
    )
    firewall.deny_all_but_ssh(name="Refuse what comes in except SSH", files=(AFTER_INIT,))


def set_up_updates(os_name: str) -> None:
    """Install security updates every day, but nothing that layer 2 pins."""
    put_atomic(
        name="Install security updates by themselves, NVIDIA's packages excepted",
        dest=UNATTENDED,
        content=template_text(
            "security/unattended-upgrades.j2", origins=ORIGINS[os_name], held=HELD
        ),
    )
    apt_timers.release_timers(name="Let apt's timers run")
    systemd.units(
        names=("apt-daily.timer", "apt-daily-upgrade.timer", "unattended-upgrades.service"),
        name="Look for updates every day",
        running=True,
    )
