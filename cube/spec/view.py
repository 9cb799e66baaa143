"""The part of the specification that the layers read, as flat data for pyinfra."""

from cube.spec.model import Spec


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
