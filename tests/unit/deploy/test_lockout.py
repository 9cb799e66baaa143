"""A change that could lock us out, and what takes it back."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from pyinfra.api import Config, Inventory, State, StringCommand
from pyinfra.api.exceptions import ConnectError

from cube.machines import Endpoint, ssh
from cube.machines.ssh import make_key
from cube.runtime import run
from deploy.operations import lockout
from deploy.runner import event_file
from deploy.runner.sources import ROOT
from tests.unit.sshd import Login, serving

#: The host's tools: systemd notes calls, and ufw has a state in a file.
TOOLS = {
    "systemctl": """case "$*" in
        "--quiet is-active ssh.socket") exit 3 ;;
        "restart cube-lockout.timer") [ -e timer ] || exit 5 ;;
    esac""",
    "systemd-run": "touch timer",
    "ufw": """case "$*" in
        status) if [ -e on ]; then echo 'Status: active'; else echo 'Status: inactive'; fi ;;
        "--force disable") rm on ;;
        "--force enable") touch on ;;
    esac""",
}


class Box:
    """A root file system with settings, and the program below its /run."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.tools = folder / "tools"
        self.program = self.root / "run/cube/lockout/program"
        for name, text in {
            "etc/ssh/sshd_config": "Port 22\n",
            "etc/ssh/sshd_config.d/10 owner's.conf": "X11Forwarding yes\n",
            "etc/ssh/ssh_host_ed25519_key": "secret\n",
            "etc/ufw/ufw.conf": "ENABLED=no\n",
            "etc/default/ufw": "IPV6=yes\n",
        }.items():
            self.write(name, text)
        self.tools.mkdir()
        for name, body in TOOLS.items():
            tool = self.tools / name
            tool.write_text(f'#!/bin/sh\ncd {self.tools}\necho "{name} $*" >>calls\n{body}\n')
            tool.chmod(0o755)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def settings(self) -> dict[str, tuple[str, int]]:
        files = [path for path in (self.root / "etc").rglob("*") if path.is_file()]
        return {
            str(path.relative_to(self.root)): (path.read_text(), path.stat().st_mode)
            for path in files
        }

    def run(self, *words: str) -> int:
        self.program.parent.mkdir(parents=True, exist_ok=True)
        if words[0] == "arm":
            self.program.write_text((ROOT / "files/security/cube-lockout").read_text())
        env = {"PATH": f"{self.tools}:/usr/bin:/bin", "CUBE_ROOT": str(self.root)}
        done = subprocess.run(
            ["sh", str(self.program), *words], env=env, check=False, capture_output=True, text=True
        )
        assert done.stderr == "" or done.returncode
        return done.returncode

    def change(self) -> None:
        self.write("etc/ssh/sshd_config", "Port 2222\n")
        self.write("etc/ssh/sshd_config.d/00-cube.conf", "PermitRootLogin no\n")
        self.write("etc/systemd/system/ssh.service.d/60-cube.conf", "[Service]\n")
        (self.root / "etc/ssh/sshd_config.d/10 owner's.conf").unlink()
        (self.root / "etc/default/ufw").chmod(0o600)

    @property
    def calls(self) -> list[str]:
        return (self.tools / "calls").read_text().splitlines()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_settings_come_back_as_they_were(box: Box) -> None:
    before = box.settings()
    assert box.run("arm", "120") == 0
    box.change()
    assert box.run("restore") == 0
    assert box.settings() == before


def test_the_timer_is_set_before_anything_changes(box: Box) -> None:
    box.run("arm", "120")
    (started,) = [call for call in box.calls if call.startswith("systemd-run")]
    assert "--on-active=120" in started
    assert started.endswith(f"sh {box.program} restore")


def test_what_was_confirmed_stays(box: Box) -> None:
    box.run("arm", "120")
    box.change()
    changed = box.settings()
    assert box.run("disarm") == 0
    assert "systemctl stop cube-lockout.timer" in box.calls
    assert not box.program.parent.exists()
    assert box.settings() == changed


def test_who_confirms_too_late_is_told(box: Box) -> None:
    box.run("arm", "120")
    box.run("restore")
    assert box.run("disarm") == 1


def test_a_second_change_keeps_the_first_notes_and_begins_the_time_anew(box: Box) -> None:
    before = box.settings()
    box.run("arm", "120")
    box.change()
    box.run("arm", "120")
    assert box.calls[-1] == "systemctl restart cube-lockout.timer"
    box.run("restore")
    assert box.settings() == before


def test_after_a_restoration_the_notes_are_new(box: Box) -> None:
    box.run("arm", "120")
    box.run("restore")
    box.write("etc/ssh/sshd_config", "Port 23\n")
    between = box.settings()
    box.run("arm", "120")
    box.change()
    box.run("restore")
    assert box.settings() == between


def test_a_restoration_happens_once(box: Box) -> None:
    box.run("arm", "120")
    box.run("restore")
    box.write("etc/ssh/sshd_config", "Port 23\n")
    box.run("restore")
    assert box.settings()["etc/ssh/sshd_config"][0] == "Port 23\n"


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_the_firewall_is_as_it_was(box: Box, before: bool, after: bool) -> None:
    on = box.tools / "on"
    on.touch() if before else on.unlink(missing_ok=True)
    box.run("arm", "120")
    on.touch() if after else on.unlink(missing_ok=True)
    box.run("restore")
    assert on.exists() is before
    assert ("ufw --force disable" in box.calls) is after


def test_only_what_ran_is_started(box: Box) -> None:
    box.run("arm", "120")
    box.run("restore")
    calls = [call for call in box.calls if call.startswith("systemctl st")]
    assert calls == ["systemctl stop ssh.socket ssh.service", "systemctl start ssh.service"]


def commands(*texts: str) -> Any:
    """Return an operation that runs these."""

    def inner(word: str) -> Iterator[str]:
        yield from (f"{word} {text}" for text in texts)

    return SimpleNamespace(_inner=inner)


def test_a_change_is_armed_before_its_first_command() -> None:
    arm, *rest = lockout.armed._inner(commands("one", "two"), "#!/bin/sh", word="do")
    assert rest == ["do one", "do two"]
    assert isinstance(arm, StringCommand)
    assert str(arm) == lockout.ARM
    assert arm.connector_arguments["_stdin"] == "#!/bin/sh"


def test_what_changes_nothing_is_not_armed() -> None:
    assert list(lockout.armed._inner(commands(), "#!/bin/sh", word="do")) == []


@dataclass
class Door:
    """A host of which we know what it answers to each new login, and to each command."""

    refusals: list[str] = field(default_factory=list)
    failing: tuple[str, ...] = ()
    connected: bool = True
    seen: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    name: str = "desk1"
    print_prefix: str = ""
    current_op_global_arguments: ClassVar[dict[str, object]] = {"_sudo": True}

    def connector_cls(self, *_: object) -> "Door":
        return self

    def connect(self) -> None:
        refusal = self.refusals.pop(0) if self.refusals else ""
        self.seen.append(refusal or "login")
        if refusal:
            raise ConnectError(refusal)

    def disconnect(self) -> None:
        pass

    def run_shell_command(
        self, command: StringCommand, *_: object, _sudo: bool = False
    ) -> tuple[bool, Any]:
        if not self.connected:
            raise OSError("Socket is closed")
        assert _sudo
        word = str(command).partition(" &&")[0].split()[-1]
        self.seen.append(word)
        return word not in self.failing, SimpleNamespace(output="")


@dataclass
class Told:
    cause: str = ""

    def exit_host(self, host: str, *, code: int = 0, cause: str = "") -> None:  # noqa: ARG002
        self.cause = cause


def confirmed(door: Door, patch: pytest.MonkeyPatch) -> tuple[bool, str]:
    """Confirm; return whether the change stays, and what is told otherwise."""
    told = Told()
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    patch.setattr(event_file, "exit_host", told.exit_host)
    patch.setattr(time, "sleep", sleep)
    patch.setattr(time, "monotonic", lambda: clock[0])
    kept = lockout.keep_or_restore(None, door)  # type: ignore[arg-type]
    return kept, told.cause


def test_a_login_that_gets_in_keeps_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    assert confirmed(door, monkeypatch) == (True, "")
    assert door.seen == ["login", "true", "disarm"]


def test_a_server_that_is_starting_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(["refused"])
    assert confirmed(door, monkeypatch) == (True, "")
    assert door.seen == ["refused", "login", "true", "disarm"]


def test_without_a_login_the_settings_come_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(["refused", "Permission denied"])
    kept, cause = confirmed(door, monkeypatch)
    assert not kept
    assert door.seen == ["refused", "Permission denied", "restore", "login", "restore"]
    assert cause.startswith("no new login got in after a change of sshd or the firewall (Perm")
    assert cause.endswith("the settings of before are back, and a login gets in again")


def test_a_lost_connection_waits_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(["timed out"] * 12)
    door.failing = ("restore",)
    kept, cause = confirmed(door, monkeypatch)
    assert not kept
    assert "yet a login still fails" in cause
    assert "look at its console" in cause


def test_a_change_that_came_back_already_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, cause = confirmed(Door(failing=("disarm",)), monkeypatch)
    assert not kept
    assert cause == lockout.TOO_LATE


def test_a_broken_connection_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(connected=False)
    assert confirmed(door, monkeypatch)[0] is False


def test_a_connection_that_is_open_is_no_new_login(tmp_path: Path) -> None:
    """A host that lets nobody in any more serves the connections that it has."""
    key, login = tmp_path / "key", Login(shell=["/bin/sh", "-c"])
    make_key(key)
    sockets = Path(tempfile.mkdtemp(prefix="cube-test-", dir="/tmp"))
    with serving(key.with_name("key.pub"), login) as port:
        access = Endpoint(
            host="127.0.0.1",
            port=port,
            user="root",
            key_file=key,
            known_hosts=tmp_path / "known",
            sockets=sockets,
        )
        rights = {"become": access.rights.become, "terminal": False, "secret": ""}
        argv = ssh.program_args(access, connect_s=10)
        data = {"cube_ssh": argv, "cube_rights": rights, "ssh_user": "root"}
        state, host = pyinfra_host(port, key, tmp_path / "known", **data)
        host.connector.connect()
        assert login.connections == 1
        assert host.connector.run_shell_command(StringCommand("true"), False, False)[0]
        assert login.connections == 1
        lockout.knock(state, host, "true")
        assert login.connections == 2
        make_key(tmp_path / "other")
        login.only = (tmp_path / "other.pub").read_text().split()[1]
        assert "Permission denied" in lockout.refused(lambda: lockout.knock(state, host, "true"))
        assert host.connector.run_shell_command(StringCommand("true"), False, False)[0]
        host.connector.disconnect()
    run.run([*argv[:-1], "-O", "exit", argv[-1]], accept=range(256))
    shutil.rmtree(sockets)


def pyinfra_host(port: int, key: Path, known_hosts: Path, **more: object) -> Any:
    data = {
        "ssh_hostname": "127.0.0.1",
        "ssh_port": port,
        "ssh_user": "ada",
        "ssh_key": str(key),
        "ssh_known_hosts_file": str(known_hosts),
        "ssh_config_file": "/dev/null",
        "ssh_strict_host_key_checking": "accept-new",
        **more,
    }
    inventory = Inventory(([("@cube/desk1", data)], {}))  # type: ignore[no-untyped-call]
    state = State(inventory, Config())  # type: ignore[no-untyped-call]
    return state, inventory.get_host("desk1")


def test_a_new_login_is_made_by_the_hosts_own_connector(tmp_path: Path) -> None:
    key = tmp_path / "key"
    make_key(key)
    with serving(key.with_name("key.pub")) as port:
        state, host = pyinfra_host(port, key, tmp_path / "known")
        lockout.knock(state, host, "true")
        assert host.connector.client is None  # it was another connection
        stranger = tmp_path / "other"
        make_key(stranger)
        state, host = pyinfra_host(port, stranger, tmp_path / "known")
        assert "Authentication error" in lockout.refused(lambda: lockout.knock(state, host, "true"))
    assert "desk1" not in event_file._ended
    assert "Could not connect" in lockout.refused(lambda: lockout.knock(state, host, "true"))
