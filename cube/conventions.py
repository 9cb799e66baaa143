"""Files that every image carries from its first boot on, whatever its operating system."""

from cube.spec import Spec

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
WAIT_ONLINE = """\
[Service]
ExecStart=
ExecStart=/usr/lib/systemd/systemd-networkd-wait-online --any --timeout=60
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
"""

# A host name that a seed sets is answered for by systemd-resolved.
HOSTS = """\
127.0.0.1 localhost
127.0.1.1 {hostname}
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""


def files(spec: Spec, *, root_device: str) -> dict[str, str]:
    """Return path (below the root) and content of each file, in the order of the paths.

    Args:
        spec: names of the host and of the admin user.
        root_device: what the kernel is told the root is: a fixed name, so that update-grub says
            the same in a machine, in a container and on another disk.
    """
    wait_online = "etc/systemd/system/systemd-networkd-wait-online.service.d/50-cube.conf"
    return {
        "etc/cloud/cloud.cfg.d/99-cube.cfg": CLOUD.format(user=spec.admin.user),
        "etc/default/grub.d/99-cube.cfg": GRUB.format(device=root_device),
        "etc/hostname": f"{spec.image.hostname}\n",
        "etc/hosts": HOSTS.format(hostname=spec.image.hostname),
        "etc/netplan/10-cube.yaml": NETPLAN,
        wait_online: WAIT_ONLINE,
    }
