"""The machines that can be judged by name: those of cube.toml, and those that were left up."""

from checks.targets import Target, from_endpoint, from_host
from cube.config import OS_NAMES, Spec
from cube.config.workspace import Workspace
from cube.machines import record


def known_targets(spec: Spec) -> dict[str, Target]:
    """Return every machine that has a name, by name.

    A name in cube.toml goes before a machine of the pipeline that is called the same, and the
    image that cube.toml names goes before the other one.

    Raises:
        MachineError: the record of a machine cannot be read.
    """
    folders = [Workspace(root=spec.build.dir / os, name=os).machines for os in OS_NAMES]
    folders.append(Workspace.of(spec).machines)
    up = [one for folder in folders for one in record.left_up(folder)]
    return {
        **{one.name: from_endpoint(one.name, one.endpoint) for one in up},
        **{name: from_host(name, host) for name, host in spec.hosts.items()},
    }
