"""Which machines `pytest checks/` judges, and how SSH reaches them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checks.inventory import known_targets
from checks.targets import (
    TargetError,
    asks_for_names,
    from_url,
    select,
)
from checks.titles import stable_id, title
from cube import config
from cube.config.workspace import Workspace
from cube.machines import Endpoint, address, record
from cube.machines.address import Address

PROJECT = Path(__file__).parents[3]
DESK = Address(name="desk1", host="192.0.2.10", user="anna")
KNOWN = {"desk1": DESK}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ssh://box", Address(name="box", host="box")),
        ("ssh://anna@box:2222", Address(name="box-2222", host="box", port=2222, user="anna")),
        (
            "ssh://a@[2001:db8::1]:22",
            Address(name="2001.db8..1-22", host="2001:db8::1", port=22, user="a"),
        ),
        (
            "ssh://a@box?ssh_identity_file=/k&known_hosts=/h",
            Address(name="box", host="box", user="a", key=Path("/k"), known_hosts=Path("/h")),
        ),
    ],
)
def test_an_address_is_read(url: str, expected: Address) -> None:
    assert from_url(url) == expected


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ssh://", "no host"),
        ("ssh://a@box:port", "ssh://user@host:port"),
        ("ssh://a:secret@box", "password"),
        ("ssh://a@box?key=/k", "unknown option key"),
    ],
)
def test_a_wrong_address_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(TargetError, match=complaint):
        from_url(url)


def test_an_endpoint_survives_the_command_line(tmp_path: Path) -> None:
    odd = tmp_path / "a key, with&signs"
    endpoint = Endpoint(host="127.0.0.1", port=2222, user="u", key_file=odd, known_hosts=odd)
    words = address.of(endpoint).url
    target = select(words, {})[0]
    assert target == Address(
        name="127.0.0.1-2222",
        host="127.0.0.1",
        port=2222,
        user="u",
        key=odd,
        known_hosts=odd,
        config=False,
    )


def test_without_hosts_every_known_machine_is_judged() -> None:
    assert select("", KNOWN) == [DESK]


def test_names_and_addresses_mix() -> None:
    assert select("desk1, ssh://box,docker://web", KNOWN) == [
        DESK,
        Address(name="box", host="box"),
        "docker://web",
    ]


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("", "there is no machine to judge: add"),
        ("desk2", r"no machine is called desk2 \(known: none\): add \[hosts.desk2\]"),
    ],
)
def test_no_machine_is_an_error_and_not_this_one(asked: str, complaint: str) -> None:
    with pytest.raises(TargetError, match=complaint):
        select(asked, {})


@pytest.mark.parametrize(
    ("asked", "expected"), [("", True), ("a", True), ("ssh://a,b", True), ("ssh://a", False)]
)
def test_the_inventory_is_read_for_names_only(asked: str, expected: bool) -> None:
    assert asks_for_names(asked) is expected


def test_machines_that_are_up_are_known_by_name(tmp_path: Path) -> None:
    file = tmp_path / "cube.toml"
    file.write_text('[build]\ndir = "b"\n[hosts.desk1]\naddress = "192.0.2.10"\nuser = "anna"\n')
    loaded = config.load(file)
    for name, alive in (("layer1", True), ("gone", False), ("desk1", True)):
        write_record(Workspace.of(loaded).machines / name, alive=alive)
    known = known_targets(loaded)
    assert known["desk1"] == DESK
    assert known["layer1"].port == 2222
    assert sorted(known) == ["desk1", "layer1"]


def write_record(folder: Path, *, alive: bool) -> None:
    folder.mkdir(parents=True)
    me = record.identify(os.getpid())
    life = me if alive else record.ProcessId(pid=me.pid, started="never")
    endpoint = Endpoint(
        host="127.0.0.1", port=2222, user="u", key_file=folder / "k", known_hosts=folder / "h"
    )
    record.write(
        record.MachineRecord(
            name=folder.name,
            kind="vm",
            disk=folder / "d",
            run_dir=folder,
            endpoint=endpoint,
            owner=me,
            detached=True,
            life=life,
        )
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["checks", "--hosts=ssh://x@127.0.0.1:1"], "cannot log in as x@127.0.0.1:1"),
        (["checks/hygiene"], "add --root=PATH"),
        (["checks", "--root=/nowhere"], "no system there"),
        (["checks", "--spec=/nowhere/cube.toml"], "/nowhere/cube.toml: cannot be read"),
        (["checks", "--hosts=nobody"], "no machine is called nobody"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(words: list[str], complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("name", "parameters", "sentence", "known_as"),
    [
        ("test_ufw_is_active", {}, "ufw is active", "f.py::test_ufw_is_active"),
        (
            "test_timer_runs",
            {"_testinfra_host": object(), "timer": "apt", "n": 2},
            "timer runs (apt, 2)",
            "f.py::test_timer_runs[apt, 2]",
        ),
    ],
)
def test_a_check_is_named_by_what_it_says(
    name: str, parameters: dict[str, object], sentence: str, known_as: str
) -> None:
    assert title(name, parameters) == sentence
    assert stable_id("f.py", name, parameters) == known_as
