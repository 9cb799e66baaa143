"""A layer brings every role as far as its packages, installs once, and then goes on with each."""

import json
from pathlib import Path
from typing import Any

import pytest

from cube.provision import pyinfra_run

PLANTED = '''\
import sys
from types import ModuleType

from deploy.runner import events, layers
from deploy.runner.role import role
from pyinfra import host, state
from pyinfra.api import deploy
from pyinfra.operations import server


def plant(name, function):
    module = ModuleType(f"deploy.roles.{{name}}")
    setattr(module, name, function)
    sys.modules[module.__name__] = module


@role("One")
def one():
    server.shell(name="first", commands="true")
    yield ("bash", "coreutils")
    server.shell(name="after one", commands="true")


@role("Two")
def two():
    """Needs more than it can say at once."""
    yield ("bash", "dash")
    server.shell(name="after two", commands="true")
    {more}


@deploy("Three")
def three():
    server.shell(name="three", commands="true")


for function in (one, two):
    plant(function.__name__, function)
plant("three", three)
'''
TELL = """
recorder, told = events.recorder(state, host), []
for part, add in {parts}:
    before = len(host.op_hash_order)
    add()
    told += [part + ": " + op["name"] for op in recorder.label(host, before, role=part)]
events.emit("plan", told=told)
"""
LAYER = TELL.format(parts="layers.parts(1, host)")
ALONE = TELL.format(parts='[("alone", {role})]')


def plan(folder: Path, ending: str, *, more: str = "", expected: int = 0) -> list[str]:
    """Return the operations in order, with their parts; or what a run without any said."""
    file = folder / "planted.py"
    file.write_text(PLANTED.format(more=more) + ending)
    data = ["--data", f"layer1_roles={json.dumps(['one', 'three', 'two'])}"]
    code, journal = pyinfra_run.run_pyinfra(
        ["--dry", *data, "@local", str(file)], {}, folder, timeout_s=60, told=False
    )
    assert code == expected, journal.tail()
    told: list[dict[str, Any]] = journal.of("plan")
    return list(told[0]["told"]) if told else [journal.tail()]


def test_a_layer_installs_the_packages_of_all_roles_in_one_call(tmp_path: Path) -> None:
    assert plan(tmp_path, LAYER) == [
        "one: first",
        "packages: Install the packages of layer 1",
        "one: after one",
        "three: three",
        "two: after two",
        "packages: Wait for the packages' last steps",
        "record: Note that layer 1 is on this box",
    ]


def test_a_role_alone_installs_its_own(tmp_path: Path) -> None:
    assert plan(tmp_path, ALONE.format(role="one")) == [
        "alone: first",
        "alone: Install the packages of one",
        "alone: after one",
    ]


@pytest.mark.parametrize("ending", [LAYER, ALONE.format(role="two")])
def test_packages_are_yielded_once(tmp_path: Path, ending: str) -> None:
    (said,) = plan(tmp_path, ending, more='yield ("tar",)', expected=1)
    assert "the role Two yields its packages twice: of tar let apt.install make" in said
