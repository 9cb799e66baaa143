"""What a build and its tools leave: installers' files, caches, histories, logs, state."""

import os
from pathlib import Path

from cube.seal.cleaning.image import Image
from cube.seal.cleaning.settings import Settings
from cube.seal.cleaning.tree import Tree

#: Docker and containerd make their folders at the next start.
ENGINES = ("var/lib/docker", "var/lib/containerd")
#: What Docker notes of every container and network that a check has made.
ENGINE_STATE = (
    "builder",
    "buildkit",
    "containers",
    "network",
    "plugins",
    "swarm",
    "tmp",
    "trust",
    "volumes",
)


def remove_swap(tree: Tree) -> None:
    """Remove the swap file: pages hold what was in memory, and each box makes its own file."""
    tree.remove("swap.img", "swap.img.new")


def clean_cloud_init(image: Image) -> None:
    """Let cloud-init forget that it has run; its own program runs its hooks in clean.d, too."""
    if not image.tree.find("usr/bin/cloud-init"):
        return
    image.run("cloud-init", "clean", "--logs", "--seed")
    image.tree.remove(
        "var/lib/cloud",
        "etc/cloud/cloud-init.disabled",
        "etc/netplan/50-cloud-init.yaml",
        "etc/ssh/sshd_config.d/50-cloud-init.conf",
        "etc/systemd/network/10-cloud-init-*",
    )


def clean_installer(tree: Tree) -> None:
    """Remove what Subiquity and curtin leave.

    Subiquity turns off cloud-init's growpart and names its own data source.
    Source: canonical/subiquity, subiquity/models/subiquity.py; curtin, commands/curthooks.py.
    """
    tree.remove(
        "var/log/installer",
        "var/log/curtin",
        "root/curtin*",
        "autoinstall*",
        "usr/sbin/policy-rc.d",
        "etc/netplan/00-installer-config*",
        "etc/cloud/clean.d/99-installer",
        "etc/cloud/ds-identify.cfg",
        "etc/cloud/cloud.cfg.d/99-installer.cfg",
        "etc/cloud/cloud.cfg.d/90-installer-network.cfg",
        "etc/cloud/cloud.cfg.d/50-curtin-networking.cfg",
        "etc/cloud/cloud.cfg.d/curtin-preserve-sources.cfg",
        "etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg",
    )


def clean_engines(tree: Tree, settings: Settings) -> None:
    """Remove the state of Docker and containerd; images that the image shall have stay."""
    if settings.keep_images:
        tree.remove(*(f"var/lib/docker/{name}" for name in ENGINE_STATE))
    else:
        tree.empty(*ENGINES)


def clean_packages(tree: Tree) -> None:
    """Remove apt's lists and archives, and backups of dpkg, debconf, accounts and ufw."""
    kept = {"lock", "partial"}  # apt-get clean leaves them, too
    archives = tree.find("var/cache/apt/archives/*")
    tree.remove(*(tree.name(path)[1:] for path in archives if path.name not in kept))
    tree.empty(
        "var/cache/apt/archives/partial", "var/lib/apt/lists", "var/lib/apt/periodic", "var/backups"
    )
    tree.remove(
        "var/cache/apt/*.bin",
        "var/cache/debconf/*-old",
        "var/lib/dpkg/*-old",
        "var/lib/ubuntu-advantage/private",
        "etc/ufw/*.rules.[0-9]*",
        *(f"etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")),
    )


def clean_homes(tree: Tree) -> None:
    """Remove histories, caches and known hosts of root and of people."""
    traces = (
        ".cache",
        ".pyinfra*",
        "core",
        ".ssh/known_hosts",
        ".ssh/known_hosts.old",
        ".bash_history",
        ".zsh_history",
        ".python_history",
        ".lesshst",
        ".viminfo",
        ".wget-hsts",
        ".sudo_as_admin_successful",
    )
    homes = [home for home in tree.find("root", "home/*") if is_folder(home)]
    for home in homes:
        name = tree.name(home)[1:]
        tree.remove(*(f"{name}/{trace}" for trace in traces))
        clean_ssh_folder(home / ".ssh", home)


def clean_ssh_folder(folder: Path, home: Path) -> None:
    """Remove an empty .ssh; give another one to its owner, for a check may have made it as root."""
    if not is_folder(folder):
        return
    if not any(folder.iterdir()):
        folder.rmdir()
        return
    owner = home.stat()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def is_folder(path: Path) -> bool:
    """Tell a folder; a link to one is none."""
    return path.is_dir() and not path.is_symlink()


def clean_logs(tree: Tree) -> None:
    """Remove logs, dumps, mail and results; folders stay, for packages make them only once."""
    for path in tree.files("var/log"):
        path.unlink()
    tree.empty(
        "var/log/journal",
        "var/crash",
        "var/lib/apport/coredump",
        "var/mail",
        "var/spool/rsyslog",
        "var/lib/wtmpdb",
        "var/lib/lastlog",
    )
    tree.remove(
        "var/lib/logrotate/status",
        "var/lib/fail2ban/fail2ban.sqlite3*",
        "var/lib/cube/health.json",
        "var/lib/cube/before",
    )
    for path in tree.find("core*"):
        if path.is_file() and not path.is_symlink():
            path.unlink()


def clean_scratch(tree: Tree) -> None:
    """Remove temporary files, also those that a running system hides beneath a tmpfs."""
    tree.empty("tmp", "var/tmp", "run")
