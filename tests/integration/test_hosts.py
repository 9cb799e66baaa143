"""`cube apply` and pyinfra on several hosts, some dead, silent, hung, refusing or vanishing.

What stands for the hosts: see `fleet`. A host that lost its network while it worked is not among
them: that takes the kernel a minute to notice, and the unit tests see to the settings for it.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cube.machines import ssh
from cube.runtime.errors import INTERRUPTED, HostsError
from tests.integration import fleet
from tests.integration.conftest import PROJECT
from tests.integration.fleet import Fleet, Node
from tests.processes import running

BIN = Path(sys.executable).parent
ROLES = 'enabled = [1]\nlayer1 = ["users"]'
GOOD = 4
#: ssh waits 15 s for a greeting; a command that hangs is given up after this.
LIMIT_S = 12
HANGS = "#!/bin/sh\nexec sleep 1000\n"
#: Ends sshd, which is the first process of such a host, and all others with it.
VANISHES = "#!/bin/sh\nkill 1\nexec sleep 1000\n"


@dataclass(frozen=True)
class Site:
    """Hosts, and the cube.toml that lists them."""

    good: list[Node]
    dead: Node
    silent: Node
    refusing: Node
    hung: Node
    vanishing: Node
    spec: Path

    def cube(self, *words: str) -> list[str]:
        return [str(BIN / "cube"), *words, "--spec", str(self.spec)]


@pytest.fixture(scope="module")
def up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    tree = fleet.copy_tree(request.getfixturevalue("base_disk"), folder)
    public = ssh.make_key(folder / "id_ed25519")
    with fleet.fleet(tree, folder / "hosts", public) as started:
        yield started


@pytest.fixture(scope="module")
def site(up: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    good = [up.start() for _ in range(GOOD)]
    refusing = up.start(sshd=("-o", "AuthorizedKeysFile=none"))
    hung, vanishing = up.start(), up.start()
    for node, program in ((hung, HANGS), (vanishing, VANISHES)):
        visudo = node.root / "usr/sbin/visudo"
        visudo.unlink()
        visudo.write_text(program)
        visudo.chmod(0o755)
    dead, silent = up.place("dead", 200), up.place("silent", 201)
    nodes = [dead, silent, *up.nodes]
    key = up.folder.parent / "id_ed25519"
    text = (PROJECT / "cube.toml").read_text()
    text = text.replace('dir = "build"', f'dir = "{folder}/build"')
    text = text.replace("enabled = [1, 2, 3, 4, 5]", ROLES)
    spec = folder / "cube.toml"
    spec.write_text(text + fleet.hosts_table(nodes, key))
    with socket.create_server((silent.address, silent.port)):  # the kernel answers, nobody greets
        yield Site(good, dead, silent, refusing, hung, vanishing, spec)


@dataclass(frozen=True)
class Done:
    """A command that ended; what became of each host, and when it was told."""

    code: int
    hosts: dict[str, Any]
    told: list[dict[str, Any]]


@pytest.fixture(scope="module")
def applied(site: Site) -> Done:
    words = ["apply", "--all", "--no-checks", "--json", "--timeout", f"{LIMIT_S} s"]
    done = subprocess.run(
        site.cube(*words), capture_output=True, text=True, check=False, cwd=PROJECT, timeout=120
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    (found,) = [one for one in told if one["kind"] == "hosts"]
    return Done(done.returncode, {one["box"]: one for one in found["hosts"]}, told)


def test_those_that_answer_are_done(site: Site, applied: Done) -> None:
    for node in site.good:
        assert applied.hosts[node.name]["state"] == "done"
        assert (node.root / "etc/sudoers.d/50-cube-admin").is_file()
        assert (node.root / "var/lib/cube/layers.json").is_file()


def test_the_summary_says_why_each_of_the_others_failed(site: Site, applied: Done) -> None:
    assert applied.code == HostsError.exit_code
    reasons = {name: one["error"]["text"] for name, one in applied.hosts.items() if "error" in one}
    assert reasons.keys() == {
        one.name for one in (site.dead, site.silent, site.refusing, site.hung, site.vanishing)
    }
    assert "Connection refused" in reasons[site.dead.name]
    assert "cannot log in" in reasons[site.silent.name]
    assert "timed out" in reasons[site.silent.name]
    assert "Permission denied" in reasons[site.refusing.name]
    vanished = applied.hosts[site.vanishing.name]["error"]
    assert "Connection refused" in vanished["text"]
    assert "users: Let the administrator use sudo: failed" in vanished["details"]
    assert reasons[site.hung.name] == f"layer 1: did not end within {LIMIT_S} s"


def test_none_is_held_up_by_another(site: Site, applied: Done) -> None:
    """Each that answers is told before any deadline of the others."""
    names = [one["host"] for one in applied.told if one.get("ended")]
    assert set(names[-2:]) == {site.silent.name, site.hung.name}
    slowest = max(applied.hosts[node.name]["seconds"] for node in site.good)
    assert slowest < LIMIT_S


def test_each_has_a_log_of_its_own(site: Site, applied: Done) -> None:
    boxes = site.spec.parent / "build/boxes"
    for node in site.good:
        text = (boxes / node.name / "apply.log").read_text()
        assert "users: Let the administrator use sudo" in text
        assert not any(other.name in text for other in site.good if other != node)
    assert "Connection refused" in (boxes / site.dead.name / "apply.log").read_text()


def test_a_second_time_changes_nothing_and_nothing_has_drifted(site: Site, applied: Done) -> None:
    again = subprocess.run(
        site.cube(
            "apply",
            "node*",
            "--exclude",
            site.refusing.name,
            "--exclude",
            site.hung.name,
            "--exclude",
            site.vanishing.name,
            "--no-checks",
            "--prove",
        ),
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
        timeout=120,
    )
    lines = again.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[node.name, "done"] for node in site.good]
    assert all(line.endswith("layer 1: nothing changed") for line in lines)


def test_drift_is_named_by_host(site: Site, applied: Done) -> None:
    (site.good[0].root / "etc/sudoers.d/50-cube-admin").write_text("# nothing\n")
    done = subprocess.run(
        site.cube("drift", *(node.name for node in site.good), "--no-checks"),
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        timeout=120,
    )
    assert done.returncode == 15, done.stderr
    assert f"1 of {GOOD} hosts differ from what they claim: {site.good[0].name}" in done.stderr
    assert f"{site.good[0].name}: layer 1: users: Let the administrator use sudo" in done.stderr
    assert [line.endswith("layer 1: no drift") for line in done.stdout.splitlines()] == [
        False,
        *[True] * (GOOD - 1),
    ]


def test_ctrl_c_ends_all_of_it(site: Site, applied: Done) -> None:
    process = subprocess.Popen(
        site.cube("apply", site.hung.name, site.good[1].name, "--no-checks", "--plain"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if f"{site.good[1].name}: done" in line:
            break
    wait_for_child(site.hung)
    children = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED, err
    assert [line.split()[1] for line in out.splitlines()] == ["interrupted", "done"]
    assert children
    assert [left for pid in children if (left := command_of(pid))] == []


def command_of(pid: int) -> str:
    """Return the command of a process; empty when it is gone, or ended and not yet reaped."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def wait_for_child(node: Node) -> None:
    """Wait until the host hangs in its command."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            for pid, words in running():
                if words == ["sleep", "1000"] and Path(f"/proc/{pid}/root").readlink() == node.root:
                    return
        time.sleep(0.1)
    raise AssertionError("the host does not hang")


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return [int(one) for one in found] + [deep for one in found for deep in descendants(int(one))]


def test_pyinfra_alone_goes_on_with_the_hosts_that_answer(site: Site, applied: Done) -> None:
    """`pyinfra inventory.py`, with `--no-wait`: a failed operation still ends in a failure."""
    broken = site.good[2].root / "usr/sbin/visudo"
    broken.unlink()
    broken.write_text("#!/bin/sh\necho refused >&2; exit 1\n")
    broken.chmod(0o755)
    for node in site.good[2:]:
        (node.root / "etc/sudoers.d/50-cube-admin").unlink()
    limits = [word for node in (site.dead, *site.good) for word in ("--limit", node.name)]
    done = subprocess.run(
        [str(BIN / "pyinfra"), "-y", "--no-wait", *limits, "inventory.py", "deploy/layer1.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        timeout=120,
        env={**os.environ, "CUBE_SPEC": str(site.spec)},
    )
    assert done.returncode == 1, done.stderr
    assert (site.good[3].root / "etc/sudoers.d/50-cube-admin").is_file()
    assert not (site.good[2].root / "etc/sudoers.d/50-cube-admin").exists()
