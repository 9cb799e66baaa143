"""The peer's template: our own virtual machine, Packer's Ansible provisioner."""

import json
from pathlib import Path

import pytest

from bench.peers import packer, playbook
from bench.peers.application import Workshop
from bench.peers.variants import BY_NAME
from cube import config
from cube.baseimage.packer import check, inputs, tool


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    file = tmp_path / "cube.toml"
    file.write_text(
        '[admin]\nssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI' + "A" * 43 + ' me"]\n'
    )
    return Workshop(folder=tmp_path, venv=tmp_path / "venv", spec=config.load(file))


def test_the_playbook_gets_the_variables_that_it_gets_elsewhere(
    shop: Workshop, tmp_path: Path
) -> None:
    file = packer.write_variables(BY_NAME["pipelining"], shop, 3142, tmp_path / "wheels", tmp_path)
    told = json.loads(file.read_text())
    values = json.loads(Path(told["ansible_variables"]).read_text())
    assert values.items() >= playbook.variables(shop.spec).items()
    assert "ANSIBLE_PIPELINING=1" in told["ansible_environment"]
    assert told["cache"] == "http://10.0.2.2:3142"


def test_packer_takes_the_template(shop: Workshop, tmp_path: Path) -> None:
    if tool.version() >= tool.PLUGINS_SINCE:
        pytest.skip("the Ansible provisioner is a plugin in this Packer")
    ansible = shop.venv / "bin/ansible-playbook"
    ansible.parent.mkdir(parents=True)
    ansible.write_text("#!/bin/sh\necho 'ansible-playbook [core 2.19.0]'\n")
    ansible.chmod(0o755)
    (tmp_path / "wheels").mkdir()
    values = check.sample_values(shop.spec, "debian-13", tmp_path)
    ours = inputs.write(values, tmp_path / "ours.json")
    more = packer.write_variables(BY_NAME["pipelining"], shop, 1, tmp_path / "wheels", tmp_path)
    template = packer.write_template(tmp_path / "template")
    assert 'provisioner "ansible"' in (template / "peer.pkr.hcl").read_text()
    tool.call(
        ["validate", f"-var-file={ours}", f"-var-file={more}", template],
        work=tmp_path, cache=tmp_path / "cache", timeout_s=60,
    )  # fmt: skip
