"""What Ubuntu's installer runs at its end, with the new system under /target."""

import shlex

from cube.baseimage import base_files
from cube.config import Spec
from cube.disks import shape

#: What the last late-command leaves on the disk: only a whole installation has it.
INSTALLED = "installed"
#: Ubuntu's own archives, as its ubuntu.sources names them.
ARCHIVES = ("http://archive.ubuntu.com/ubuntu/", "http://security.ubuntu.com/ubuntu/")
SOURCES = "/target/etc/apt/sources.list.d/ubuntu.sources"

#: Removes the installer's own settings, which switch cloud-init and the growing of the root off.
#: `cloud-init clean` runs hooks that remove most of them; what remains would win over ours.
CLEAN = (
    "curtin in-target -- cloud-init clean --logs --seed",
    "rm -f /target/etc/cloud/cloud-init.disabled /target/etc/netplan/*.yaml"
    " /target/etc/cloud/cloud.cfg.d/*installer*.cfg"
    " /target/etc/cloud/cloud.cfg.d/*networking*.cfg"
    " /target/etc/cloud/cloud.cfg.d/*disable-cc-dpkg-grub.cfg"
    " /target/etc/cloud/cloud.cfg.d/curtin-preserve-sources.cfg",
)

#: GRUB for BIOS, and the path that firmware without a boot entry takes: curtin installs GRUB only
#: for the firmware that it runs under. The program is one of the image's own files.
BOOT_LOADERS = "curtin in-target -- /usr/local/sbin/cube-boot-loader --force"

#: Where upgrades of shim and the signed GRUB install to. The installer names the disk of its
#: own machine; on every other one the upgrade would fail (package scripts: grub-multi-install).
UPGRADED_ESP = (
    "curtin in-target -- sh -c 'echo grub-efi-amd64 grub-efi/install_devices multiselect"
    f" /dev/disk/by-label/{shape.ESP_LABEL} | debconf-set-selections'"
)

#: Both mounts are named by label, and there is nothing else: no /boot, no swap.
FSTAB = f"""\
set -eu
cd /target/etc
grep -q '^LABEL={shape.ROOT_LABEL} / ext4 ' fstab
grep -q '^LABEL={shape.ESP_LABEL} /boot/efi vfat ' fstab
test "$(grep -c '^[^#]' fstab)" = 2
"""


def late_commands(spec: Spec) -> list[str]:
    """Return what turns a fresh installation into one of our bare images.

    Each is a shell script of its own. One that fails ends the installation: the mark at the end
    means that all went well.
    """
    files = base_files.files(spec)
    return [
        *use_mirrors(spec),
        *CLEAN,
        # The proxy is for building only.
        "rm -f /target/etc/apt/apt.conf.d/*proxy*"
        " /target/etc/systemd/system/snapd.service.d/snap_proxy.conf",
        *drop_mirrors(spec),
        *[write_command(name, text) for name, text in files.items()],
        *[link_command(name, target) for name, target in base_files.LINKS.items()],
        *find_traces(spec),
        FSTAB,
        BOOT_LOADERS,
        UPGRADED_ESP,
        "curtin in-target -- update-grub",
        "echo uninitialized >/target/etc/machine-id",
        f"mkdir -p /target/var/lib/cube && echo {INSTALLED} >/target/var/lib/cube/base && sync",
    ]


def mirrors(spec: Spec) -> list[str]:
    """Return the mirrors that serve the installation in place of Ubuntu's archives."""
    used = (spec.network.apt_mirror, security_mirror(spec))
    return [url for url in dict.fromkeys(used) if url]


def security_mirror(spec: Spec) -> str:
    """Return what serves security updates while building; empty for Ubuntu's archive."""
    return spec.network.apt_security_mirror or spec.network.apt_mirror


def use_mirrors(spec: Spec) -> list[str]:
    """Return the command that fails when a mirror does not answer.

    The installer tests the one for packages only, and goes on without security updates.
    """
    update = "curtin in-target -- apt-get -o APT::Update::Error-Mode=any update"
    return [update] if mirrors(spec) else []


def drop_mirrors(spec: Spec) -> list[str]:
    """Return the commands that leave the system with Ubuntu's own archives.

    curtin keeps the sources of the ISO's system as a copy when it writes its own.
    """
    if not mirrors(spec):
        return [f"rm -f {SOURCES}.curtin.orig"]
    return [f"mv {SOURCES}.curtin.orig {SOURCES}", "rm -rf /target/var/lib/apt/lists/*"]


def find_traces(spec: Spec) -> list[str]:
    """Return the command that fails when a mirror or the proxy is still named in /etc."""
    urls = [url.rstrip("/") for url in (*mirrors(spec), spec.network.proxy) if url]
    ours = [url for url in urls if not any(own.startswith(url) for own in ARCHIVES)]
    words = " ".join(f"-e {shlex.quote(url)}" for url in ours)
    return [f"! grep -rlF {words} /target/etc"] if ours else []


def write_command(name: str, content: str) -> str:
    """Return a shell script that writes one of the image's files below /target."""
    path = shlex.quote(f"/target/{name}")
    return (
        f"set -eu\nmkdir -p $(dirname {path})\n"
        f"cat >{path} <<'END-OF-FILE'\n{content}END-OF-FILE\n"
        f"chmod {base_files.mode_of(name):o} {path}\n"
    )


def link_command(name: str, target: str) -> str:
    """Return a shell command that makes one of the image's symbolic links below /target."""
    path = shlex.quote(f"/target/{name}")
    return f"mkdir -p $(dirname {path}) && ln -sfn {shlex.quote(target)} {path}"
