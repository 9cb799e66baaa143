"""Role docker: Docker Engine with compose and buildx."""

import json
from dataclasses import dataclass

from deploy.facts.containerd import CONFIG
from deploy.facts.docker import DAEMON
from deploy.operations import accounts, apparmor, apt, archives, containerd, containers, systemd
from deploy.operations.docker import kept_engine, no_other_engine, settings
from deploy.operations.files import put_atomic
from deploy.runner import supported
from deploy.runner.data import read
from deploy.runner.role import Packages, role
from deploy.runner.sources import file_text

LIMITS = "/etc/systemd/system/containerd.service.d/60-cube.conf"

#: Source: docs.docker.com, "Install Docker Engine on Debian", "Verify the fingerprint".
FINGERPRINT = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
REPOSITORY = "https://download.docker.com/linux"

#: What Docker Engine needs beside it: AppArmor profiles are loaded with apparmor_parser.
COMMON = ("apparmor", "iptables")
PACKAGES = {
    "debian-13": ("docker-buildx", "docker-cli", "docker-compose", "docker.io"),
    "ubuntu-24.04": ("docker-buildx", "docker-compose-v2", "docker.io"),
}
VENDOR_PACKAGES = (
    "containerd.io", "docker-buildx-plugin", "docker-ce", "docker-ce-cli", "docker-compose-plugin",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Docker:
    """What the role reads."""

    admin_user: str
    docker_source: str
    proxy: str = ""
    apt_mirror: str = ""
    apt_security_mirror: str = ""
    building: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether packages come from a mirror while building."""
        return bool(self.apt_mirror or self.apt_security_mirror)


@role("Docker")
def docker() -> Packages:
    """Install and set up Docker Engine."""
    data = read(Docker)
    os_name = supported.check()
    no_other_engine(name="Expect no other container engine in Docker's place")
    kept = kept_engine(data.docker_source)
    # Before the package, which starts the daemon: the first bridge gets its address from here.
    settings(
        name="Rotate logs, keep containers over restarts, choose networks and limits",
        role="docker",
        wanted=json.loads(file_text("docker/daemon.json")),
    )
    put_atomic(
        name="Let containers pin memory and open many files, and leave no cores",
        dest=LIMITS,
        content=file_text("docker/limits.conf"),
        read_by="containerd.service",
    )
    if kept:
        yield COMMON
    elif data.docker_source == "docker":
        yield COMMON
        # The role common installs what this needs, and only now it is there.
        add_repository(data, os_name)
        apt.install(
            name="Install Docker Engine from Docker's apt repository", packages=VENDOR_PACKAGES
        )
    else:
        yield (*COMMON, *PACKAGES[os_name])
    if data.building:
        # A minute of the first boot of a guest without KVM.
        apparmor.compile_profiles(name="Compile AppArmor's profiles for the image's kernel")
    containerd.without_cri(name="Close Kubernetes' door to containerd")
    systemd.units(names="docker.service", name="Run Docker", running=True, reads=(DAEMON,))
    systemd.restart_if_older(
        name="Let containerd read its settings again",
        unit="containerd.service",
        than=(LIMITS, CONFIG),
    )
    systemd.restart_if_older(
        name="Let Docker read its settings again",
        unit="docker.service",
        than=(DAEMON,),
        check=f"dockerd --validate --config-file={DAEMON}",
        guard=containers.spared(),
    )
    accounts.account(
        name="Let the administrator use Docker", user=data.admin_user, groups=("docker",)
    )


def add_repository(data: Docker, os_name: str) -> None:
    """Take Docker from its makers, whose key is known by its fingerprint."""
    distribution = os_name.split("-", maxsplit=1)[0]
    url = f"{REPOSITORY}/{distribution}"
    archive = archives.Archive(
        owner="Docker",
        stem="docker",
        key_url=f"{url}/gpg",
        fingerprint=FINGERPRINT,
        url=url,
        suite=supported.CODENAMES[os_name],
        components="stable",
    )
    archives.add(archive, proxy=data.proxy, mirrored=data.mirrored)
