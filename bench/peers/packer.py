"""Packer with its own Ansible provisioner: from nothing to a disk with layer 1, in one run."""

import json
import shutil
import time
from pathlib import Path

from bench import project
from bench.peers import playbook
from bench.peers.application import SOURCE, Workshop, ansible_places
from bench.peers.box import HOST_ADDRESS
from bench.peers.playbook import OS
from bench.peers.variants import Variant
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
from cube.supply.package_cache import PackageCache

FOLDER = Path(__file__).resolve().parents[1] / "packer"
#: Seconds for the whole of Packer's run; without KVM, packages are installed under emulation.
LIMIT_S = 2 * 3600
#: What our template of the same virtual machine ends with: its own build.
OUR_BUILD = "\nbuild {"


def measure(variant: Variant, shop: Workshop, cache: tuple[int, Path], folder: Path) -> float:
    """Return the seconds of a build by Packer and Ansible, from nothing to a qcow2 file.

    Args:
        variant: Ansible's settings.
        shop: Ansible's venv, and the specification that the playbook's variables come from.
        cache: port of the cache of packages, and the folder of wheels.
        folder: made anew.

    Raises:
        CubeError: it failed, or this Packer has no Ansible provisioner built in.
    """
    if tool.version() >= tool.PLUGINS_SINCE:
        raise CubeError("the Ansible provisioner of Packer 1.7 and later is a plugin")
    spec = project.copy(folder / "project", SOURCE / "cube.toml", image=OS).spec
    work = Workspace.of(spec)
    runs = inputs.Folder.of(work)
    key, port = ssh.make_key(folder / "key"), cache[0]
    packages = PackageCache(url=f"http://127.0.0.1:{port}", guest_url="")
    started = time.monotonic()
    disk = bootstrap.bootstrap(spec, work, packages)
    nocloud = build_seed(key)
    seed.write(runs.seed, render_user_data(nocloud), nocloud)
    found = accelerator.find()
    values = inputs.hardware(spec, found) | inputs.first_boot(
        spec, runs, disk=disk, key_file=folder / "key", nonce="none",
        timeout_s=inputs.BOOT_TIMEOUT_S[found],
    )  # fmt: skip
    variables = inputs.write(values, runs.work / "variables.json")
    more = write_variables(variant, shop, port, cache[1], folder)
    place = write_template(folder / "template")
    with log.step("Booting the bare OS under Packer, and applying the playbook to it"):
        try:
            tool.call(
                ["build", f"-var-file={variables}", f"-var-file={more}", place],
                work=runs.work, cache=work.cache, timeout_s=LIMIT_S,
                on_tick=Watch(runs.console, "Packer + Ansible").tick,
            )  # fmt: skip
        except CubeError as error:
            raise template.explained(error, "Packer + Ansible", runs) from error
    with log.step("Writing the disk"):
        base.convert(runs.disk, folder / "disk.qcow2")
    seconds = time.monotonic() - started
    shutil.rmtree(folder)
    return seconds


def write_template(folder: Path) -> Path:
    """Write the peer's template: our virtual machine, its build."""
    ours = (tool.TEMPLATES / OS / "first-boot.pkr.hcl").read_text()
    machine, found, _ = ours.partition(OUR_BUILD)
    assert found, ours
    folder.mkdir()
    shutil.copy(tool.TEMPLATES / OS / "variables.pkr.hcl", folder)
    (folder / "peer.pkr.hcl").write_text(machine + (FOLDER / "ansible.pkr.hcl").read_text())
    return folder


def write_variables(
    variant: Variant, shop: Workshop, port: int, wheels: Path, folder: Path
) -> Path:
    """Write the variables of the peer's own part of the template."""
    values = folder / "ansible.json"
    own = {"fact_subset": [variant.subset], "ansible_python_interpreter": "/usr/bin/python3"}
    values.write_text(json.dumps({**playbook.variables(shop.spec), **own}))
    settings = {**variant.environment, **ansible_places(folder)}
    described = {
        "cache": f"http://{HOST_ADDRESS}:{port}",
        "wheels": str(wheels),
        "ansible": str(shop.venv / "bin/ansible-playbook"),
        "ansible_variables": str(values),
        "ansible_environment": [f"{name}={value}" for name, value in settings.items()],
        "playbook": str(playbook.FOLDER / "site.yml"),
    }
    file = folder / "packer.json"
    file.write_text(json.dumps(described))
    return file
