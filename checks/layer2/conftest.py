"""What the checks of layer 2 share: kernels, packages, and what the stack was meant to drive."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from testinfra.host import Host

from cube.config import Spec
from cube.stack import profile, table
from cube.stack.profile import Profile
from cube.stack.table import Gpu

#: Every kernel with its modules of NVIDIA: name, version, kernel, license, file. A folder without
#: modules.builtin belongs to no kernel; kernel/drivers has nvidia-wmi-ec-backlight and others of
#: the kernel's own. `uname -r` is no guide: a container's is its host's.
LOOK = r"""
for d in /lib/modules/*/modules.builtin; do d=${d%/*}; echo "kernel ${d##*/}"
  find $d -path '*/kernel/drivers' -prune -o -name 'nvidia*.ko*' -print | while read -r f; do
    printf 'module %s|%s|%s|%s|%s\n' "$(modinfo -F name $f)" "$(modinfo -F version $f)" \
      "$(modinfo -F vermagic $f | cut -d' ' -f1)" "$(modinfo -F license $f)" "$f"
  done
done
"""


@dataclass(frozen=True)
class Module:
    """A module as modinfo reads it."""

    name: str
    version: str
    built_for: str
    license: str
    file: str


Kernels = Mapping[str, list[Module]]


@pytest.fixture(scope="module")
def kernels(host: Host) -> Kernels:
    """Every kernel of the disk with its modules of NVIDIA."""
    found: dict[str, list[Module]] = {}
    for line in host.check_output("sh -c %s", LOOK).splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "kernel":
            found[rest] = []
        else:
            found[[*found][-1]].append(Module(*rest.split("|")))
    assert found, "/lib/modules has no kernel"
    return found


@pytest.fixture(scope="module")
def packages(host: Host) -> dict[str, str]:
    """Version of every package that is fully installed."""
    listing = host.check_output("dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n'")
    rows = [line.split() for line in listing.splitlines()]
    return {row[1]: row[2] for row in rows if row[0] == "installed"}


@pytest.fixture(scope="session")
def stack(spec: Spec) -> Profile:
    """The versions that were chosen."""
    return profile.load(spec.stack.profile)


@pytest.fixture(scope="session")
def gpu(spec: Spec) -> Gpu:
    """The model that the stack must drive."""
    return table.load().gpu[spec.gpu.model]
