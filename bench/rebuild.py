"""A change in layer 5, and a build from nothing: our chain, against Packer + Ansible.

Packer cannot resume, so whatever was changed, its image is built from nothing. It is measured
twice. Once by a run of Packer with its own Ansible provisioner, from our bootstrapped disk; without
KVM, that is under emulation. And once put together of two parts that are not: our own stage 2 with
an empty store, and the first application of layer 1 by Ansible with pipelining to a container. Both
leave layer 5 out. Our own time has all of ours: each layer is applied twice, and checked after a
restart.
"""

import json
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from bench import playbook, project
from bench.boxes import Sources
from bench.measure import PROJECT
from bench.playbook import OS
from bench.tools import VARIANTS, Shop, ansible_settings
from cube.baseimage import base
from cube.baseimage.debian import bootstrap
from cube.baseimage.packer import inputs, seed, template, tool
from cube.baseimage.packer.watch import Watch
from cube.config.workspace import Workspace
from cube.machines import ssh
from cube.machines.qemu import accelerator
from cube.machines.seed import build_seed, render_user_data
from cube.runtime import log
from cube.runtime.errors import CubeError

PACKER, PUT_TOGETHER = "packer-run", "packer-ansible"
LABELS = {
    PACKER: "Packer with its Ansible provisioner (pipelining), layer 1 alone",
    PUT_TOGETHER: "the same put together: our bare OS anew, Ansible at native speed",
}
#: The variant whose settings are taken.
ANSIBLE = VARIANTS["pipelining"]
#: Seconds for the whole of Packer's run; without KVM, packages are installed under emulation.
LIMIT_S = 2 * 3600
#: What our template of the same virtual machine ends with: its own build.
OUR_BUILD = "\nbuild {"


def measure(
    shop: Shop, given: Sources, applied: Sequence[float], rounds: int
) -> dict[tuple[str, str], list[float]]:
    """Return the seconds of ours (`rounds` rebuilds) and of the peer, by case and variant.

    `applied` are the seconds of first applications by Ansible with pipelining.
    """
    copied = project.copy(shop.folder / "ours", PROJECT / "cube.toml", image=OS)
    found: dict[tuple[str, str], list[float]] = {("rebuild", "cube"): []}
    with log.step("Building everything anew"):
        base_s = copied.build("base").seconds
        found["full", "cube"] = [base_s + copied.build(copied.last).seconds]
    for _ in range(rounds):
        copied.touch(5)
        with log.step("Rebuilding after a change in layer 5"):
            built = copied.build(copied.last)
        built.require_reused(copied.below(5))
        found["rebuild", "cube"].append(built.seconds)
    if applied:
        together = base_s + statistics.median(applied)
        found["rebuild", PUT_TOGETHER] = found["full", PUT_TOGETHER] = [together]
    try:
        run_s = by_packer(shop, given, shop.folder / "theirs")
    except CubeError as error:
        log.warning(f"Packer with its Ansible provisioner: not measured: {error.message}")
    else:
        found["rebuild", PACKER] = found["full", PACKER] = [run_s]
    return found


def by_packer(shop: Shop, given: Sources, folder: Path) -> float:
    """Return the seconds of a build by Packer and Ansible, from nothing to a qcow2 file."""
    if tool.version() >= tool.PLUGINS_SINCE:
        raise CubeError("the Ansible provisioner of Packer 1.7 and later is a plugin")
    folder.mkdir()
    spec = project.copy(folder / "project", PROJECT / "cube.toml", image=OS).spec
    work, key = Workspace.of(spec), ssh.make_key(folder / "key")
    runs = inputs.Folder.of(work)
    started = time.monotonic()  # several programs and steps of ours: no one command
    disk = bootstrap.bootstrap(spec, work, given.packages)
    nocloud = build_seed(key)
    seed.write(runs.seed, render_user_data(nocloud), nocloud)
    found = accelerator.find()
    values = inputs.hardware(spec, found) | inputs.first_boot(
        spec,
        runs,
        disk=disk,
        key_file=folder / "key",
        nonce="none",
        timeout_s=inputs.BOOT_TIMEOUT_S[found],
    )
    files = [inputs.write(values, runs.work / "variables.json"), variables(shop, given, folder)]
    given_files = [f"-var-file={file}" for file in files]
    argv = ["build", *given_files, str(write_template(folder / "template"))]
    with log.step("Booting the bare OS under Packer, and applying the playbook to it"):
        try:
            tool.call(
                argv,
                work=runs.work,
                cache=work.cache,
                timeout_s=LIMIT_S,
                on_tick=Watch(runs.console, "Packer + Ansible").tick,
            )
        except CubeError as error:
            raise template.explained(error, "Packer + Ansible", runs) from error
        base.convert(runs.disk, folder / "disk.qcow2")
    seconds = time.monotonic() - started
    shutil.rmtree(folder)
    return seconds


def write_template(folder: Path) -> Path:
    """Write the peer's template: our virtual machine, its build."""
    ours = tool.TEMPLATES / OS
    machine, found, _ = (ours / "first-boot.pkr.hcl").read_text().partition(OUR_BUILD)
    assert found
    folder.mkdir()
    shutil.copy(ours / "variables.pkr.hcl", folder)
    theirs = (PROJECT / "bench/packer/ansible.pkr.hcl").read_text()
    (folder / "peer.pkr.hcl").write_text(machine + theirs)
    return folder


def variables(shop: Shop, given: Sources, folder: Path) -> Path:
    """Write the variables of the peer's own part of the template."""
    values, file = folder / "ansible.json", folder / "packer.json"
    own = {"fact_subset": [ANSIBLE.subset], "ansible_python_interpreter": "/usr/bin/python3"}
    values.write_text(json.dumps({**playbook.variables(shop.spec), **own}))
    settings = ansible_settings(ANSIBLE, folder, shop.venv)
    described = {
        "cache": given.packages.guest_url,
        "wheels": str(given.wheels),
        "ansible": str(shop.venv / "bin/ansible-playbook"),
        "ansible_variables": str(values),
        "ansible_environment": [f"{name}={value}" for name, value in settings.items()],
        "playbook": str(playbook.FOLDER / "site.yml"),
    }
    file.write_text(json.dumps(described))
    return file
