"""The machines that can be judged by name: those of cube.toml, and the pipeline's that are up."""

from checks.targets import Target, from_host
from cube.spec import Spec


def known_targets(spec: Spec) -> dict[str, Target]:
    """Return every machine that has a name, by name."""
    return {name: from_host(name, host) for name, host in spec.hosts.items()}
