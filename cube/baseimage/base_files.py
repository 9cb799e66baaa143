"""Files that every image carries from its first boot on, whatever its operating system."""

from pathlib import Path

from cube.config import Spec
from cube.disks import shape

NETPLAN = """\
network:
  version: 2
  ethernets:
    predictable:
      match: {name: "en*"}
      dhcp4: true
    classic:
      match: {name: "eth*"}
      dhcp4: true
"""

# One cable is enough: without this, a box with a free socket waits two minutes at every boot.
# netplan's own drop-in lets the unit wait for nothing when no interface is there yet, as where a
# driver loads late: an empty condition takes all conditions back. Source: systemd.unit(5),
# "Conditions and asserts"; netplan 1.1.2, 10-netplan.conf.
WAIT_ONLINE = """\
[Unit]
ConditionPathIsSymbolicLink=
ConditionCapability=CAP_NET_ADMIN

[Service]
ExecStart=
ExecStart=/usr/lib/systemd/systemd-networkd-wait-online --any --timeout=60
"""

# On a slow machine LVM may look before udev has told of the disk, and ends with 5.
# Source: seen with LVM 2.03.31 under emulation; systemd.service(5): Restart= of a oneshot.
LVM_MONITOR = """\
[Service]
Restart=on-failure
RestartSec=5
"""

# The last console is /dev/console: what systemd says goes to the serial line as well.
GRUB = """\
GRUB_DEVICE="{device}"
GRUB_DISABLE_LINUX_UUID=true
GRUB_DISABLE_OS_PROBER=true
GRUB_TERMINAL=console
GRUB_TIMEOUT=1
GRUB_RECORDFAIL_TIMEOUT=1
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"
"""

CLOUD = """\
datasource_list: [NoCloud, None]
network: {{config: disabled}}
system_info:
  default_user:
    name: {user}
    gecos: Administrator
    groups: [adm, sudo]
    shell: /bin/bash
    lock_passwd: true
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
disable_root: true
ssh_pwauth: false
locale: false
apt: {{preserve_sources_list: true}}
grub_dpkg: {{enabled: false}}
# cube-grow-root.service does both, LVM included.
growpart: {{mode: "off"}}
resize_rootfs: false
"""

# A host name that a seed sets is answered for by systemd-resolved.
HOSTS = """\
127.0.0.1 localhost
127.0.1.1 {hostname}
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""


#: Programs and units, by where they go and where they are in the project.
PROJECT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).with_name("files")
UNITS = "etc/systemd/system"
COPIES = {
    "etc/apt/apt.conf.d/60cube-boot-loader": "cube/baseimage/files/60cube-boot-loader",
    f"{UNITS}/cube-boot-loader.service": "cube/baseimage/files/cube-boot-loader.service",
    f"{UNITS}/cube-grow-root.service": "deploy/files/common/cube-grow-root.service",
    "usr/local/sbin/cube-boot-loader": "guest/cube_boot_loader.py",
    "usr/local/sbin/cube-grow-root": "deploy/files/common/cube-grow-root",
}
#: Units that are enabled, by the links that systemctl would make.
WANTED = f"{UNITS}/multi-user.target.wants"
LINKS = {
    f"{WANTED}/cube-boot-loader.service": f"/{UNITS}/cube-boot-loader.service",
    f"{WANTED}/cube-grow-root.service": f"/{UNITS}/cube-grow-root.service",
    f"{UNITS}/network-online.target.wants/systemd-networkd-wait-online.service": (
        "/usr/lib/systemd/system/systemd-networkd-wait-online.service"
    ),
}


def mode_of(name: str) -> int:
    """Return the permissions of one of the files.

    Source: netplan(5), "permissions": a file that others can read is warned about at every boot.
    """
    if name.startswith("etc/netplan/"):
        return 0o600
    return 0o755 if name.startswith("usr/local/sbin/") else 0o644


def files(spec: Spec) -> dict[str, str]:
    """Return path (below the root) and content of each file, in the order of the paths.

    The kernel is told a root that has the same name everywhere, so that update-grub says the same
    in a machine, in a container and on another disk.

    Args:
        spec: names of the host and of the admin user, layout of the root.
    """
    wait_online = f"{UNITS}/systemd-networkd-wait-online.service.d/50-cube.conf"
    device = shape.root_device(spec.image.disk_layout)
    texts = {
        "etc/cloud/cloud.cfg.d/99-cube.cfg": CLOUD.format(user=spec.admin.user),
        "etc/default/grub.d/99-cube.cfg": GRUB.format(device=device),
        "etc/hostname": f"{spec.image.hostname}\n",
        "etc/hosts": HOSTS.format(hostname=spec.image.hostname),
        "etc/netplan/10-cube.yaml": NETPLAN,
        f"{UNITS}/lvm2-monitor.service.d/50-cube.conf": LVM_MONITOR,
        wait_online: WAIT_ONLINE,
        **{name: (PROJECT / source).read_text() for name, source in COPIES.items()},
    }
    return dict(sorted(texts.items()))
