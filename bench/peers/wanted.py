"""What the state of a box is judged by: places that layer 1 writes to, and whole folders."""

from cube.config import Spec

#: Files and links of layer 1, by hand: a list taken from the roles would repeat their mistakes.
FILES = (
    "/etc/apt/apt.conf.d/50cube-lock", "/etc/apt/apt.conf.d/50cube-network",
    "/etc/apt/apt.conf.d/52cube-unattended-upgrades", "/etc/locale.gen", "/etc/default/locale",
    "/etc/localtime", "/etc/cloud/cloud.cfg.d/99-cube.cfg", "/usr/local/sbin/cube-grow-root",
    "/etc/systemd/system/cube-grow-root.service", "/etc/systemd/system/cube-ssh-host-keys.service",
    "/etc/sysctl.d/60-cube.conf", "/etc/security/limits.d/60-cube.conf",
    "/etc/systemd/system.conf.d/60-cube.conf", "/etc/sudoers.d/50-cube-admin",
    "/etc/fail2ban/jail.d/cube.local", "/etc/ssh/sshd_config.d/00-cube.conf",
    "/etc/systemd/system/ssh.service.d/60-cube.conf", "/etc/ufw/after.init", "/etc/ufw/ufw.conf",
    "/etc/ufw/user.rules", "/etc/default/ufw", "/etc/docker/daemon.json",
    "/etc/systemd/system/containerd.service.d/60-cube.conf", "/opt/cube/tools/requirements.txt",
    "/opt/cube/tools/bin/uv", "/usr/local/bin/uv", "/usr/local/bin/uvx",
)  # fmt: skip
UNITS = (
    "cube-grow-root.service", "cube-ssh-host-keys.service", "systemd-timesyncd.service",
    "fail2ban.service", "ufw.service", "ssh.service", "apt-daily.timer",
    "apt-daily-upgrade.timer", "unattended-upgrades.service", "docker.service",
    "containerd.service",
)  # fmt: skip
KERNEL = (
    "vm.swappiness", "vm.max_map_count", "vm.dirty_background_bytes", "vm.dirty_bytes",
    "fs.inotify.max_user_watches", "fs.inotify.max_user_instances", "fs.aio-max-nr",
    "kernel.panic", "net.core.rmem_max", "net.core.wmem_max", "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem", "net.core.netdev_max_backlog",
)  # fmt: skip
#: Whole folders: what only one of two tools has left there is a difference.
TREES = ("/etc", "/usr/local", "/opt", "/root", "/home", "/var/spool/cron")


def wanted(spec: Spec, *, trees: bool, upgrade: bool = True) -> dict[str, list[str]]:
    """Return what `box_state.py` is told to look at."""
    return {
        "files": list(FILES),
        "units": list(UNITS),
        "kernel": list(KERNEL),
        "accounts": [spec.admin.user],
        "trees": list(TREES) if trees else [],
        "leave": [] if upgrade else ["upgrade"],
    }
