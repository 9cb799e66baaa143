"""Role gpu_runtime: GPUs in containers, by NVIDIA's container toolkit, and images to have ready."""

from dataclasses import dataclass

from pyinfra.api import deploy

from deploy.facts.docker import DAEMON
from deploy.operations import apt, archives, containers, docker, systemd
from deploy.operations.files import put_atomic
from deploy.runner.data import read
from deploy.runner.sources import file_text, template_text

#: Source: docs.nvidia.com/datacenter/cloud-native/container-toolkit, "Installing with apt".
REPOSITORY = "https://nvidia.github.io/libnvidia-container"
#: Of cudatools@nvidia.com, "NVIDIA CORPORATION (Open Source Projects)"; the same in every
#: configuration of others that pins it, such as Google's dataproc initialization actions.
FINGERPRINT = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
PREFERENCES = "/etc/apt/preferences.d/cube-nvidia-container-toolkit"

PACKAGES = (
    "libnvidia-container-tools", "libnvidia-container1", "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
)  # fmt: skip

#: What `nvidia-ctk runtime configure --runtime=docker --cdi.enabled` writes.
SETTINGS = {
    "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}},
    "features": {"cdi": True},
}
#: They describe the GPUs anew when the driver or the toolkit changes, and at boot.
CDI_UNITS = ("nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service")
CDI_DROP_IN = "/etc/systemd/system/nvidia-cdi-refresh.service.d/60-cube.conf"


@dataclass(frozen=True, kw_only=True)
class GpuRuntime:
    """What the role reads; an empty URL or fingerprint stands for NVIDIA's own."""

    toolkit_version: str
    toolkit_url: str = ""
    toolkit_fingerprint: str = ""
    container_images: tuple[str, ...] = ()
    image_archives: tuple[str, ...] = ()
    proxy: str = ""
    apt_mirror: str = ""
    apt_security_mirror: str = ""

    @property
    def mirrored(self) -> bool:
        """Whether packages come from a mirror while building."""
        return bool(self.apt_mirror or self.apt_security_mirror)


@deploy("GPU runtime")
def ahead() -> None:
    """Begin to pull container images: it needs nothing but layer 1."""
    if names := read(GpuRuntime).container_images:
        docker.pull_ahead(name="Begin to pull container images", names=names)


@deploy("GPU runtime")
def gpu_runtime() -> None:
    """Let containers use the GPUs."""
    data = read(GpuRuntime)
    ahead()
    install_toolkit(data)
    put_atomic(
        name="Describe GPUs to containers only where there are GPUs",
        dest=CDI_DROP_IN,
        content=file_text("gpu_runtime/cdi-refresh.conf"),
    )
    systemd.units(names=CDI_UNITS, name="Describe the GPUs to containers at every boot")
    if data.container_images:  # before Docker restarts, which would end a pull
        docker.pulled(name="Pull container images", names=data.container_images)
    docker.settings(name="Tell Docker of the GPU runtime", role="gpu_runtime", wanted=SETTINGS)
    systemd.restart_if_older(
        name="Let Docker read its settings again",
        unit="docker.service",
        than=(DAEMON,),
        check=f"dockerd --validate --config-file={DAEMON}",
        guard=containers.spared(),
    )
    if data.image_archives:
        docker.loaded(name="Load container images", archives=data.image_archives)


def install_toolkit(data: GpuRuntime) -> None:
    """Install the container toolkit in the profile's version, and keep it there."""
    url = data.toolkit_url.rstrip("/") or REPOSITORY
    archive = archives.Archive(
        owner="the container toolkit",
        stem="nvidia-container-toolkit",
        key_url=f"{url}/gpgkey",
        fingerprint=data.toolkit_fingerprint or FINGERPRINT,
        url=f"{url}/stable/deb/amd64",
    )
    archives.add(archive, proxy=data.proxy, mirrored=data.mirrored)
    put_atomic(
        name=f"Pin the container toolkit to {data.toolkit_version}",
        dest=PREFERENCES,
        content=template_text(
            "gpu_runtime/toolkit.pref.j2", packages=PACKAGES, version=data.toolkit_version
        ),
        tried_by=apt.PREFERS,
    )
    apt.install(name="Install the container toolkit", packages=PACKAGES)
    apt.hold(name="Hold the container toolkit", packages=PACKAGES)
