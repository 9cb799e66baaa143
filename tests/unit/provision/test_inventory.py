"""What reaches a host: its data, and how it is logged in to."""

import json
from pathlib import Path

import pytest

from cube import config
from cube.machines import Endpoint, ssh
from cube.provision import inventory
from deploy.roles.common import Common
from deploy.roles.python import Python
from deploy.runner.data import build

GOLDEN = Path(__file__).parents[2] / "golden" / "cube.toml"
MORE = '[hosts.desk1]\naddress = "192.0.2.10"\nuser = "ada"\n'


@pytest.fixture
def loaded() -> config.Spec:
    return config.load_text(GOLDEN.read_text() + MORE, GOLDEN)


def test_a_machine_of_the_pipeline_gets_what_is_build_only(loaded: config.Spec) -> None:
    endpoint = Endpoint(
        host="127.0.0.1", port=2222, user="cube-build", key_file=Path("/k"), known_hosts=Path("/h")
    )
    name, data = inventory.machine(loaded, "m", endpoint)
    assert (name, data["ssh_port"], data["_sudo"]) == ("@cube/m", 2222, True)
    common = build(Common, data)
    assert common.building
    assert common.proxy == "http://proxy.example:3128"
    assert [Path(path).name for path in common.ca_certificates] == ["example-ca.crt"]


def test_a_box_keeps_its_name_and_gets_nothing_build_only(loaded: config.Spec) -> None:
    _, data = inventory.box(loaded, "desk1")
    common = build(Common, data)
    assert not common.building
    assert (common.hostname, common.proxy, common.mirrored) == ("", "", False)
    assert common.ca_certificates == ()


def test_a_box_that_is_chosen_is_no_machine_of_the_pipeline(loaded: config.Spec) -> None:
    endpoint = Endpoint(host="h", port=22, user="anna", key_file=Path("/k"), known_hosts=Path("/h"))
    _, data = inventory.machine(loaded, "desk1", endpoint, {"1": "abc"}, building=False)
    assert not build(Common, data).building
    assert data["layer_keys"] == {"1": "abc"}
    assert data["cube_ssh"] == ssh.program_args(endpoint, connect_s=inventory.CONNECT_S)
    assert data["cube_rights"] == {"become": "sudo", "terminal": False, "secret": ""}


def test_a_machine_of_the_pipeline_is_reached_by_pyinfra_itself(loaded: config.Spec) -> None:
    endpoint = Endpoint(
        host="127.0.0.1", port=22, user="cube-build", key_file=Path("/k"), known_hosts=Path("/h")
    )
    _, data = inventory.machine(loaded, "m", endpoint)
    assert (data["ssh_key"], data["ssh_known_hosts_file"]) == ("/k", "/h")
    assert "cube_ssh" not in data
    # A guest without KVM may exchange keys for longer than pyinfra's own 10 s.
    assert set(data["ssh_paramiko_connect_kwargs"].values()) == {ssh.ANSWER_S}


@pytest.mark.parametrize(("more", "building"), [({}, True), ({"building": False}, False)])
def test_one_machine_is_described_by_a_file(more: dict[str, bool], building: bool) -> None:
    access = {"host": "h", "port": 1, "user": "u", "key_file": "/k", "known_hosts": "/h"}
    row = {"name": "m", "endpoint": access, "pids": [], **more}
    name, endpoint, keys, found, data = inventory.described(row)
    assert (name, endpoint.key_file, keys, found) == ("m", Path("/k"), {}, building)
    assert data == {}


def test_an_index_of_the_build_goes_before_that_of_the_specification(
    loaded: config.Spec, tmp_path: Path
) -> None:
    file = tmp_path / "machine.json"
    access = {"host": "h", "port": 1, "user": "u", "key_file": "/k", "known_hosts": "/h"}
    lent = {"pypi_index": "http://10.0.2.2:20001/simple"}
    file.write_text(json.dumps({"name": "m", "endpoint": access, "data": lent}))
    ((_, data),) = inventory.machines_of(loaded, file)
    assert build(Python, data).pypi_index == "http://10.0.2.2:20001/simple"
    assert build(Python, config.build_data(loaded)).pypi_index == "http://pypi.example/simple"


def test_a_file_lists_several_machines(loaded: config.Spec, tmp_path: Path) -> None:
    file = tmp_path / "machines.json"
    access = {"host": "h", "port": 1, "user": "u", "key_file": "/k", "known_hosts": "/h"}
    limits = {"cube_deadline_s": 9.0, "ssh_connect_retries": 1}
    rows = [{"name": name, "endpoint": access, "data": limits} for name in "ab"]
    file.write_text(json.dumps(rows))
    found = dict(inventory.machines_of(loaded, file))
    assert list(found) == ["@cube/a", "@cube/b"]
    assert found["@cube/b"].items() >= limits.items()
