"""What `host.data` holds on a box: the specification without what only a build needs."""

from cube.config import Spec, build_data, ca_files


def box_data(spec: Spec) -> dict[str, object]:
    """Return the data of a box: it keeps its host name, and no mirror or proxy reaches it.

    What would harm its owner is refused, unless cube.toml allows it; a build has no owner.
    """
    keep = spec.network.keep_ca_certificates
    return {
        **build_data(spec),
        "building": False,
        "allow": list(spec.apply.allow),
        "hostname": "",
        "proxy": "",
        "apt_mirror": "",
        "apt_security_mirror": "",
        "ca_certificates": ca_files(spec) if keep else [],
    }
