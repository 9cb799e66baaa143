"""The part of the specification that the layers read, as flat data for pyinfra."""

from pathlib import Path

from cube.spec.model import Spec

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
        "admin_user": spec.admin.user,
        "admin_ssh_keys": list(spec.admin.ssh_keys),
        "docker_source": spec.docker.source,
        "ntp_servers": list(spec.network.ntp_servers),
        "proxy": spec.network.proxy,
        "pypi_index": spec.network.pypi_index,
        "gpu_mode": spec.gpu.mode,
        "gpu_count": spec.gpu.count,
        "gpu_memory_mib": spec.gpu.memory_mib,
        "layers": list(spec.layers.enabled),
        **{f"layer{n}_roles": list(spec.layers.roles(n)) for n in range(1, 6)},
    }


def ca_files(spec: Spec) -> list[str]:
    """Name the certificates that the image trusts while it is built."""
    wanted = spec.network.ca_certificates
    if wanted == "none":
        return []
    files = sorted(CA_FOLDER.glob("**/*.crt")) if wanted == "host" else wanted
    return [str(file) for file in files]


def build_data(spec: Spec) -> dict[str, object]:
    """Return the data of a machine of the pipeline: what is build-only reaches it."""
    return {
        **host_data(spec),
        "building": True,
        "apt_mirror": spec.network.apt_mirror,
        "ca_certificates": ca_files(spec),
        "keep_ca_certificates": spec.network.keep_ca_certificates,
    }
