"""The same link has the same key: in every checkout, at any time, on every machine."""

import json
import os
import platform
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Never

import pytest

from tests.unit.chain.project import PROJECT, Digests, check_out, digests, spec

PROGRAM = """
import json, sys
from pathlib import Path
from tests.unit.chain.project import digests, spec
checkout = Path(sys.argv[1])
print(json.dumps({os: digests(checkout, spec(os)) for os in ("debian-13", "ubuntu-24.04")}))
"""


def test_another_checkout_has_the_same_keys(first: Digests, tmp_path: Path) -> None:
    project = check_out(tmp_path / "somewhere else" / "x")
    for path in project.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o777 if path.is_dir() else 0o755)
    for folder in list(project.rglob("*/")):
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "left.cpython-311.pyc").write_bytes(b"\0")
    assert digests(project, spec()) == first


def test_hash_seed_time_zone_and_language_change_no_key(checkout: Path, first: Digests) -> None:
    told = []
    for seed, zone, language in (("0", "UTC", "C"), ("1", "Asia/Tokyo", "C.UTF-8")):
        env = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "TZ": zone,
            "LC_ALL": language,
            "HOME": f"/home/{seed}",
            "PYTHONPATH": str(PROJECT),
        }
        argv = [sys.executable, "-c", PROGRAM, str(checkout)]
        done = subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, check=True)
        told.append(json.loads(done.stdout))
    assert told[0] == told[1]
    assert {name: told[0]["debian-13"][str(name)] for name in first} == first


def test_a_key_does_not_ask_what_the_machine_is_called(
    checkout: Path, first: Digests, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*args: object) -> str:
        pytest.fail("a key asked for the name of the machine")

    for owner, name in ((socket, "gethostname"), (platform, "node"), (os, "uname")):
        monkeypatch.setattr(owner, name, asked)
    assert digests(checkout, spec()) == first


@pytest.mark.parametrize("when", [0, 2**31])
def test_a_key_does_not_depend_on_the_times_of_files(
    checkout: Path, first: Digests, when: int
) -> None:
    for path in checkout.rglob("*"):
        os.utime(path, (when, when))
    assert digests(checkout, spec()) == first


def test_a_key_is_made_without_a_look_at_the_clock(
    checkout: Path, first: Digests, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, *_: object) -> Never:
            pytest.fail("a key asked for the time")

    for module in [module for name, module in sys.modules.items() if name.startswith("cube.")]:
        if getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", Clock)
    for name in ("time", "time_ns", "monotonic", "localtime", "gmtime", "strftime"):
        monkeypatch.setattr(time, name, Clock.now)
    assert digests(checkout, spec()) == first
