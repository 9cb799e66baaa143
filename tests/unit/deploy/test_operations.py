"""Parts of operations that run without a host."""

import getpass
import grp
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.facts import apt as facts
from deploy.facts.apt import Package
from deploy.operations import accounts, apt, apt_beside, apt_timers
from deploy.operations.files import put_script
from deploy.operations.system import parse_settings
from deploy.runner import allowed
from deploy.runner.sources import ROOT, file_text


def put(
    dest: Path, content: str, *, mode: str = "644", validate: str = ""
) -> "subprocess.CompletedProcess[str]":
    group = grp.getgrgid(os.getegid()).gr_name
    script = put_script(
        str(dest), mode=mode, user=getpass.getuser(), group=group, validate=validate
    )
    return subprocess.run(
        ["sh", "-c", script], input=content, text=True, capture_output=True, check=False
    )


def test_put_makes_folders_and_sets_the_mode(tmp_path: Path) -> None:
    dest = tmp_path / "new folder" / "file"
    assert put(dest, "hello\n", mode="640").returncode == 0
    assert dest.read_text() == "hello\n"
    assert dest.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in dest.parent.iterdir()] == ["file"]


def test_put_keeps_the_old_file_when_the_new_one_is_not_valid(tmp_path: Path) -> None:
    dest = tmp_path / "script"
    dest.write_text("true\n")
    done = put(dest, "if\n", validate="sh -n %s")
    assert done.returncode != 0
    assert dest.read_text() == "true\n"
    assert [path.name for path in tmp_path.iterdir()] == ["script"]


def test_put_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old\n")
    (tmp_path / "link").symlink_to("real")
    assert put(tmp_path / "link", "new\n").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new\n"


def wait(folder: Path, *states: str, deadline_s: int) -> "subprocess.CompletedProcess[str]":
    """Wait for services that are in one state after the other, and stay in the last."""
    systemctl = folder / "systemctl"
    (folder / "states").write_text("".join(f"ActiveState={state}\n" for state in states))
    systemctl.write_text(
        f'#!/bin/sh\ncd {folder}; [ "$1" = show ] || exec echo "$@"\nhead -1 states\n'
        "[ $(wc -l <states) = 1 ] || sed -i 1d states\n"
    )
    systemctl.chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    argv = ["sh", "-c", apt_timers.wait_for_services(deadline_s)]
    return subprocess.run(argv, env=env, text=True, capture_output=True, check=False)


def test_a_run_of_apts_timers_is_waited_for(tmp_path: Path) -> None:
    done = wait(tmp_path, "activating", "deactivating", "inactive", deadline_s=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "states").read_text() == "ActiveState=inactive\n"


def test_a_run_of_apts_timers_that_does_not_end_is_told(tmp_path: Path) -> None:
    done = wait(tmp_path, "activating", deadline_s=1)
    assert done.returncode == 1
    assert "has not ended in 1 s" in done.stderr
    assert "status apt-daily.service apt-daily-upgrade.service" in done.stderr


@pytest.mark.parametrize(
    ("packages", "patterns", "but", "expected"),
    [
        ((), (), "", []),
        (("nano", "bash"), (), "", ["bash", "nano"]),  # named ones are held as soon as they come
        (("libcuda1",), (), "", []),  # it is held
        ((), ("nvidia-", "lib(cuda|nv)"), "", ["nvidia-container-toolkit", "nvidia-smi"]),
        ((), ("nvidia-",), "nvidia-container", ["nvidia-smi"]),
        ((), ("smi",), "", []),  # from a name's start
        (("nvidia-container-toolkit",), ("nvidia-",), "nvidia-container",
         ["nvidia-container-toolkit", "nvidia-smi"]),
    ],
)  # fmt: skip
def test_what_has_yet_to_be_held(
    packages: tuple[str, ...], patterns: tuple[str, ...], but: str, expected: list[str]
) -> None:
    installed = {
        "bash": Package(version="5.2"),
        "libcuda1": Package(version="550-1", held=True),
        "nvidia-container-toolkit": Package(version="1.20.0-1"),
        "nvidia-smi": Package(version="550-1"),
    }
    assert apt.loose(installed, packages, patterns=patterns, but=but) == expected


def planned(
    packages: list[str], *, loaded: bool, left: bool, patch: pytest.MonkeyPatch
) -> tuple[list[str], list[object]]:
    """Return what `install` does where bash alone is installed, and the facts that it asks."""
    answers: dict[object, object] = {facts.Installed: {"bash"}, facts.FileExists: left}
    answers[facts.PackageLists] = facts.Lists(age_s=0, usable=True)
    asked: list[object] = []

    def get_fact(fact: object, **_: object) -> object:
        asked.append(fact)
        return answers[fact]

    host = SimpleNamespace(get_fact=get_fact, noop=lambda _: None, data={"allow": [apt.HARM]})
    patch.setattr(apt, "host", host)
    patch.setattr(allowed, "host", host)
    return list(apt.install._inner(packages, loaded_ahead=loaded)), asked


@pytest.mark.parametrize(
    ("loaded", "left", "wanted", "questions"),
    [(True, True, [apt_beside.FORGET], 2), (True, False, [], 2), (False, True, [], 1)],
)
def test_what_was_loaded_ahead_and_is_not_needed_goes(
    loaded: bool,
    left: bool,
    wanted: list[str],
    questions: int,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    did, asked = planned(["bash"], loaded=loaded, left=left, patch=monkeypatch)
    assert (did, len(asked)) == (wanted, questions)


def test_what_was_loaded_ahead_and_is_needed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    did, _ = planned(["bash", "nano"], loaded=True, left=True, patch=monkeypatch)
    assert did[0] == apt_beside.TAKE
    assert did[-1].endswith(" install nano")


def test_a_load_that_goes_on_ends_before_what_it_has_loaded_goes(tmp_path: Path) -> None:
    ahead, systemctl = tmp_path / "cube-ahead", tmp_path / "systemctl"
    (ahead / "partial").mkdir(parents=True)
    systemctl.write_text(f'#!/bin/sh\ntest -d {ahead} && echo "$@" > {tmp_path}/did; exit 5\n')
    systemctl.chmod(0o755)
    script = apt_beside.FORGET.replace(apt_beside.AHEAD, str(ahead))
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", script], env=env, check=True)
    assert (tmp_path / "did").read_text() == "stop cube-ahead.service\n"
    assert not ahead.exists()


def test_settings_are_read_like_sysctl_does() -> None:
    text = "# a = 1\n\nvm.swappiness = 10\nnet.ipv4.tcp_rmem=1 2 3\n; b = 2\n"
    assert parse_settings(text) == {"vm.swappiness": "10", "net.ipv4.tcp_rmem": "1 2 3"}


def test_every_kernel_setting_has_a_reason() -> None:
    blocks = file_text("common/sysctl.conf").split("\n\n")
    groups = [block for block in blocks if "=" in block]
    assert all(block.startswith("#") for block in groups)


@pytest.mark.parametrize("name", ["common/cube-grow-root", "security/ufw-docker"])
def test_scripts_are_valid_shell(name: str) -> None:
    subprocess.run(["sh", "-n", str(ROOT / "files" / name)], check=True)


KEY = "ssh-ed25519 AAAA ada's desk"


@pytest.mark.parametrize(
    ("present", "after"),
    [
        (None, f"{KEY}\n"),
        ("", f"{KEY}\n"),
        ("ssh-rsa BBBB mine\n", f"ssh-rsa BBBB mine\n{KEY}\n"),
        ("# a note\nssh-rsa BBBB mine", f"# a note\nssh-rsa BBBB mine\n{KEY}\n"),
    ],
)
def test_a_key_is_a_line_of_its_own(present: str | None, after: str, tmp_path: Path) -> None:
    file = tmp_path / "authorized_keys"
    if present is not None:
        file.write_text(present)
    done = subprocess.run(
        ["sh", "-c", accounts.with_keys(str(file), [KEY])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == after


def test_keys_that_cannot_be_read_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "authorized_keys").mkdir()
    script = accounts.with_keys(str(tmp_path / "authorized_keys"), [KEY])
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    assert done.returncode != 0
