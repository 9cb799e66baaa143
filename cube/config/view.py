"""The part of the specification that the layers read, as flat data for pyinfra."""

from pathlib import Path

from cube.config import certificates
from cube.config.model import HARMS, Spec
from cube.stack import profile

#: Where a machine keeps certificates of its own. Source: update-ca-certificates(8).
CA_FOLDER = Path("/usr/local/share/ca-certificates")


def host_data(spec: Spec) -> dict[str, object]:
    """Return what `host.data` holds on every host; ``--data KEY=VALUE`` overrides a key.

    Only JSON-like values: strings, numbers, booleans, lists. Secrets never go here.
    """
    return {
        "image_name": spec.image.name,
        "image_version": spec.image.version,
        "hostname": spec.image.hostname,
        "locale": spec.image.locale,
        "timezone": spec.image.timezone,
        "swap_mib": spec.image.swap,
        "admin_user": spec.admin.user,
        "admin_ssh_keys": list(spec.admin.ssh_keys),
        "docker_source": spec.docker.source,
        "ntp_servers": list(spec.network.ntp_servers),
        "proxy": spec.network.proxy,
        "pypi_index": spec.network.pypi_index,
        "gpu_mode": spec.gpu.mode,
        "gpu_model": spec.gpu.model,
        "gpu_count": spec.gpu.count,
        "gpu_memory_mib": spec.gpu.memory_mib,
        **stack_data(spec),
        "layers": list(spec.layers.enabled),
        **{f"layer{n}_roles": list(spec.layers.roles(n)) for n in range(1, 6)},
    }


def stack_data(spec: Spec) -> dict[str, object]:
    """Return what layers 2-4 read; locks and archives are files of this machine."""
    chosen = profile.load(spec.stack.profile)
    sizes = [chosen.frameworks[name].disk_mib for name in known_frameworks(spec)]
    return {
        "driver_source": spec.stack.source,
        "driver_branch": chosen.branch,
        "driver_open": chosen.modules == "open",
        "cuda_toolkit": chosen.cuda,
        "cudnn": chosen.cudnn,
        "nvidia_url": spec.stack.nvidia_url,
        "nvidia_fingerprint": spec.stack.nvidia_fingerprint,
        "toolkit_url": spec.stack.toolkit_url,
        "toolkit_fingerprint": spec.stack.toolkit_fingerprint,
        "toolkit_version": chosen.container_toolkit,
        "container_images": [image for image in spec.stack.images if isinstance(image, str)],
        "image_archives": [str(image) for image in spec.stack.images if isinstance(image, Path)],
        "frameworks": known_frameworks(spec),
        "framework_locks": [str(chosen.lock(name)) for name in known_frameworks(spec)],
        "frameworks_mib": sum(sizes),
        "jupyter": spec.stack.jupyter,
    }


def known_frameworks(spec: Spec) -> list[str]:
    """Name the frameworks that are wanted; the gate tells of those that the profile lacks."""
    known = profile.load(spec.stack.profile).frameworks
    return [name for name in spec.stack.frameworks if name in known]


def ca_files(spec: Spec) -> list[str]:
    """Name the certificates that the image trusts while it is built.

    Of this machine's own, those that can be trusted: `unfit_ca_files` names the others.
    """
    wanted = spec.network.ca_certificates
    if wanted == "host":
        return [str(file) for file in own_ca_files() if not certificates.trouble(file)]
    return [] if wanted == "none" else [str(file) for file in wanted]


def own_ca_files() -> list[Path]:
    """Name the certificates of this machine's own."""
    return sorted(CA_FOLDER.glob("**/*.crt"))


def unfit_ca_files(spec: Spec) -> list[str]:
    """Say of each certificate of this machine that is left out what is wrong with it."""
    if spec.network.ca_certificates != "host":
        return []
    return [why for file in own_ca_files() if (why := certificates.trouble(file))]


def security_mirror(spec: Spec) -> str:
    """Return the mirror of security updates: cube.toml's, else that of the archive itself.

    Debian's security archive is another one than its archive: mirrors have it beside the other,
    under the name that it has on Debian's own.
    """
    own, mirror = spec.network.apt_security_mirror, spec.network.apt_mirror.rstrip("/")
    if own or spec.image.os != "debian-13" or not mirror.endswith("/debian"):
        return own or mirror
    return f"{mirror}-security"


def proxy_environment(spec: Spec) -> dict[str, str]:
    """Return the variables that lead a program through the proxy; they stay out of the image."""
    proxy = spec.network.proxy
    return {"http_proxy": proxy, "https_proxy": proxy} if proxy else {}


def build_data(spec: Spec) -> dict[str, object]:
    """Return the data of a machine of the pipeline: what is build-only reaches it."""
    return {
        **host_data(spec),
        "building": True,
        "allow": list(HARMS),
        "apt_mirror": spec.network.apt_mirror,
        "apt_security_mirror": security_mirror(spec),
        "ca_certificates": ca_files(spec),
        "keep_ca_certificates": spec.network.keep_ca_certificates,
    }
