"""Role common: packages, names, time, first boot and kernel settings of every Cube."""

from dataclasses import dataclass, field

from pyinfra import host, logger
from pyinfra.operations import files

from deploy.facts.apt import Installed
from deploy.operations import apt, apt_sources, apt_timers, certificates, system, systemd
from deploy.operations.files import put_atomic, put_each
from deploy.runner import supported
from deploy.runner.data import read
from deploy.runner.role import Packages, role
from deploy.runner.sources import file_text, template_text

#: Sets the clock, unless the owner of the machine has chosen another service for it: they exclude
#: each other. Source: Debian's packages that provide time-daemon.
TIME = "systemd-timesyncd"
OTHERS = ("chrony", "ntpsec", "openntpd")

PACKAGES = (
    # to administer; needrestart tells what waits for a restart
    "acl", "bash-completion", "bind9-dnsutils", "bzip2", "ca-certificates", "curl", "file", "git",
    "gnupg", "iproute2", "iputils-ping", "jq", "less", "logrotate", "lsof", "man-db", "nano",
    "needrestart", "openssh-server", "procps", "psmisc", "rsync", "strace", "sudo", "tmux", "tree",
    "unzip", "vim-tiny", "wget", "xz-utils", "zip", "zstd",
    # hardware
    "dmidecode", "ethtool", "lm-sensors", "numactl", "pciutils", "smartmontools",
    "usbutils",
    # disks that grow
    "cloud-guest-utils", "e2fsprogs", "lvm2", "parted", "xfsprogs",
    # frameworks compile kernels while they run
    "build-essential", "pkg-config",
    # the system's own settings; sessions of users, names of accounts that services make
    "dbus-user-session", "libnss-systemd", "libpam-systemd", "locales", TIME, "tzdata",
)  # fmt: skip

#: What a distribution only recommends, and a system without recommended packages lacks: settings
#: of the kernel (ping works for everybody), the machine's own name, encrypted disks. Ubuntu has
#: all of it in packages that are there. Source: Recommends of Debian 13's procps and systemd.
OWN_PACKAGES = {
    "debian-13": ("libnss-myhostname", "linux-sysctl-defaults", "systemd-cryptsetup"),
    "ubuntu-24.04": (),
}

#: Units of ours that a first boot needs, and what they run.
UNITS = ("cube-grow-root.service", "cube-ssh-host-keys.service", "cube-swap.service")
PROGRAMS = ("cube-grow-root", "cube-swap")
#: Settings of apt and of what it calls, by their places.
APT = {
    "/etc/apt/apt.conf.d/50cube-lock": "50cube-lock",
    "/etc/apt/apt.conf.d/50cube-network": "50cube-network",
    "/etc/needrestart/conf.d/60-cube.conf": "needrestart.conf",
}
SWAP = "/etc/cube/swap.conf"
RESOLVED = "/etc/systemd/resolved.conf.d/60-cube.conf"

UNATTENDED = "/etc/apt/apt.conf.d/52cube-unattended-upgrades"


@dataclass(frozen=True, kw_only=True)
class Common:
    """What the role reads; the last six reach a machine only while an image is built."""

    admin_user: str
    locale: str
    timezone: str
    swap_mib: int = 0
    hostname: str = ""
    ntp_servers: tuple[str, ...] = ()
    proxy: str = ""
    apt_mirror: str = ""
    apt_security_mirror: str = ""
    building: bool = False
    keep_ca_certificates: bool = False
    ca_certificates: tuple[str, ...] = field(default=())

    @property
    def mirrored(self) -> bool:
        """Whether packages come from a mirror while building."""
        return bool(self.apt_mirror or self.apt_security_mirror)


@role("Common")
def common() -> Packages:
    """Set up the system."""
    data = read(Common)
    os_name = supported.check()
    set_up_apt(data)
    apt.refresh(name="Fetch package lists")
    apt.full_upgrade(name="Upgrade all packages")
    other = other_time_service(data)
    yield tuple(name for name in (*PACKAGES, *OWN_PACKAGES[os_name]) if not other or name != TIME)
    set_names_and_time(data, time=not other)
    ask_no_neighbours()
    prepare_first_boot(data, time=not other)
    tune_kernel()


def set_up_apt(data: Common) -> None:
    """Keep others from the lock, then say where packages come from."""
    apt_timers.hold_timers(name="Keep apt's timers away until updates are set up", until=UNATTENDED)
    put_each(
        name="Let apt runs wait for each other and try again, and restart no service",
        files={dest: file_text(f"common/{name}") for dest, name in APT.items()},
    )
    if data.proxy:
        put_atomic(
            name="Use the proxy while building",
            dest="/etc/apt/apt.conf.d/99cube-build-proxy",
            content=template_text("common/apt-proxy.j2", data),
            tried_by=apt.READS,
        )
    trust_certificates(data)
    apt_sources.make_way(name="Remove sources of ours that contradict somebody's")
    if data.mirrored:
        apt_sources.mirror(
            name="Copy apt's sources with the mirrors in them",
            url=data.apt_mirror,
            security_url=data.apt_security_mirror,
        )
        put_atomic(
            name="Use the mirror while building",
            dest="/etc/apt/apt.conf.d/99cube-build-mirror",
            content=file_text("common/apt-mirror"),
        )


def trust_certificates(data: Common) -> None:
    """Trust the given certificates; the seal finds those of the build by their names."""
    prefix = "cube" if data.keep_ca_certificates else "cube-build"
    found = certificates.named(prefix, data.ca_certificates)
    if found:
        put_each(
            name="Bring the certificates",
            files={f"{certificates.FOLDER}/{name}": text for name, text in found.items()},
        )
        certificates.trust(name="Trust the certificates", names=tuple(found))


def other_time_service(data: Common) -> str:
    """Return the package of another time service than ours, or ""; it keeps its own servers."""
    installed = host.get_fact(Installed)
    other = next((name for name in OTHERS if name in installed), "")
    if other and data.ntp_servers:
        logger.warning(
            f"{host.print_prefix}{other} sets the clock, somebody chose that: give it the servers"
            f" of network.ntp_servers yourself ({', '.join(data.ntp_servers)})"
        )
    return other


def set_names_and_time(data: Common, *, time: bool) -> None:
    """Set locale, time zone, time servers (where our service sets the clock) and host name."""
    system.locale(name=f"Generate the locale {data.locale}", locale_name=data.locale)
    put_atomic(
        name="Make the locale the default",
        dest="/etc/default/locale",
        content=f"LANG={data.locale}\n",
    )
    files.link(
        name=f"Set the time zone to {data.timezone}",
        path="/etc/localtime",
        target=f"/usr/share/zoneinfo/{data.timezone}",
        create_remote_dir=False,
        force=True,
        force_backup=False,
    )
    if data.ntp_servers and time:
        put_atomic(
            name="Choose the time servers",
            dest="/etc/systemd/timesyncd.conf.d/50-cube.conf",
            content=template_text("common/timesyncd.conf.j2", data),
            read_by="systemd-timesyncd.service",
        )
        systemd.restart_if_older(
            name="Ask the time servers at once",
            unit="systemd-timesyncd.service",
            than=("/etc/systemd/timesyncd.conf.d/50-cube.conf",),
        )
    if data.hostname:
        system.hostname(name=f"Name the host {data.hostname}", hostname=data.hostname)


def ask_no_neighbours() -> None:
    """Take names from name servers alone."""
    put_atomic(
        name="Ask no neighbours for names",
        dest=RESOLVED,
        content=file_text("common/resolved.conf"),
        read_by="systemd-resolved.service",
    )
    systemd.restart_if_older(
        name="Let the resolver read its settings again",
        unit="systemd-resolved.service",
        than=(RESOLVED,),
    )


def prepare_first_boot(data: Common, *, time: bool) -> None:
    """Let a copy of this disk become a machine of its own, on a disk of any size."""
    put_atomic(
        name="Tell cloud-init about seeds, the administrator and the network",
        dest="/etc/cloud/cloud.cfg.d/99-cube.cfg",
        content=template_text("common/cloud.cfg.j2", data),
    )
    put_each(
        name="Bring the programs that grow the root file system and make the swap file",
        files={f"/usr/local/sbin/{name}": file_text(f"common/{name}") for name in PROGRAMS},
        mode="755",
        validate="sh -n %s",
    )
    put_atomic(
        name=f"Ask for {data.swap_mib} MiB of swap",
        dest=SWAP,
        content=template_text("common/swap.conf.j2", data),
    )
    put_each(
        name="Describe the units of the first boot",
        files={f"/etc/systemd/system/{unit}": file_text(f"common/{unit}") for unit in UNITS},
    )
    systemd.units(
        names=(*UNITS, *([f"{TIME}.service"] if time else [])),
        name="Grow the disk, make host keys and swap, and set the clock at every boot",
    )
    if not data.building:  # an image has no swap file: each box makes its own
        systemd.units(names="cube-swap.service", name="Make the swap file", running=True)
        systemd.restart_if_older(
            name="Let the swap file have its size", unit="cube-swap.service", than=(SWAP,)
        )


def tune_kernel() -> None:
    """Set what AI work needs of kernel and limits."""
    put_atomic(
        name="Keep kernel settings for AI work",
        dest="/etc/sysctl.d/60-cube.conf",
        content=file_text("common/sysctl.conf"),
    )
    system.kernel_settings(
        name="Set the kernel at once",
        values=system.parse_settings(file_text("common/sysctl.conf")),
    )
    put_atomic(
        name="Load no protocol that nothing here uses",
        dest="/etc/modprobe.d/60-cube.conf",
        content=file_text("common/unused-modules.conf"),
    )
    put_atomic(
        name="Allow pinned memory and many files to logins",
        dest="/etc/security/limits.d/60-cube.conf",
        content=file_text("common/limits.conf"),
    )
    put_atomic(
        name="Allow pinned memory and many files to services",
        dest="/etc/systemd/system.conf.d/60-cube.conf",
        content=file_text("common/systemd-limits.conf"),
    )
