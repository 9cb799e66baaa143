"""A change in layer 5, and a build from nothing: our chain, against Packer + Ansible.

The peer builds all anew. It is measured by a run of Packer, and put together of two parts: see
bench/README.md.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import jinja2

from bench import playbook, project
from bench.boxes import Sources
from bench.playbook import OS, PIPELINING
from bench.timing import PROJECT, Runs, Timing
from bench.tools import Site
from cube.baseimage.packer import tool
from cube.runtime import log
from cube.runtime.errors import CubeError
from tests.integration import standin_archives

REBUILD, FULL = "rebuild", "full"
PACKER, PUT_TOGETHER = "packer-run", "packer-ansible"
LABELS = {
    PACKER: "Packer with its Ansible provisioner (pipelining), layer 1 alone",
    PUT_TOGETHER: "the same put together: our bare OS anew, Ansible at native speed",
}
#: Seconds that a build gives Packer after the boot, and here: without KVM, packages are installed
#: under emulation.
OUR_REST, PEER_REST = "REST_S = 1200", "REST_S = 7200"
#: Where the template of the first boot ends its build.
END = "\n}\n"


def measure(site: Site, given: Sources, runs: Runs, applied: Sequence[float], rounds: int) -> None:
    """Add ours and the peer to the runs; `applied`: Ansible's first applications, in seconds."""
    copied = project.copy(site.folder / "ours", PROJECT / "cube.toml", image=OS)
    with log.step("Building everything anew"):
        bare, whole = copied.build("base"), copied.build()
    runs[FULL, "cube", 0] = [Timing(seconds=bare.seconds + whole.seconds, load=bare.load)]
    for _ in range(rounds):
        copied.touch(5)
        with log.step("Rebuilding after a change in layer 5"):
            runs[REBUILD, "cube", 0].append(copied.build(reusing=copied.below(5)))
    peers = {}
    if applied:
        peers[PUT_TOGETHER] = Timing(seconds=bare.seconds + statistics.median(applied))
    try:
        peers[PACKER] = by_packer(site, given)
    except CubeError as error:
        log.warning(f"Packer with its Ansible provisioner: not measured: {error.message}")
    for name, done in peers.items():
        runs[REBUILD, name, 0] = runs[FULL, name, 0] = [done]


def by_packer(site: Site, given: Sources) -> Timing:
    """Build the bare OS in a copy of the project whose first boot applies the playbook, too."""
    if tool.version() >= tool.PLUGINS_SINCE:
        raise CubeError("the Ansible provisioner of Packer 1.7 and later is a plugin")
    cache = {"package_cache": f'"{given.packages.url}"'}
    text = standin_archives.rewrite((PROJECT / "cube.toml").read_text(), cache)
    file = Path(site.write("peer.toml", text))
    theirs = project.copy(site.folder / "theirs", file, image=OS)
    change(theirs.folder / "packer" / OS / "first-boot.pkr.hcl", END, template(site, given) + END)
    change(theirs.folder / "cube/baseimage/packer/template.py", OUR_REST, PEER_REST)
    with log.step("Booting the bare OS under Packer, and applying the playbook to it"):
        return theirs.build("base")


def change(file: Path, old: str, new: str) -> None:
    """Replace the last place of a text in a file."""
    before, found, after = file.read_text().rpartition(old)
    assert found, f"{file} has no {old!r}"
    file.write_text(before + new + after)


def template(site: Site, given: Sources) -> str:
    """Return what the peer does in a build of Packer's."""
    theirs = jinja2.Template((PROJECT / "bench/packer/ansible.pkr.hcl.j2").read_text())
    own = {"fact_subset": ["min"], "ansible_python_interpreter": "/usr/bin/python3"}
    variables = json.dumps({**playbook.variables(site.spec), **own})
    settings = playbook.environment(PIPELINING, site.folder, site.venv)
    rendered: str = theirs.render(
        cache=given.packages.guest_url,
        index=given.wheels.index,
        ansible=site.venv / "bin/ansible-playbook",
        variables=site.write("ansible.json", variables),
        environment=[f"{name}={value}" for name, value in settings.items()],
        playbook=playbook.FOLDER / "site.yml",
    )
    return rendered
