"""A file that a daemon reads is tried by the daemon's own start, and put back when that fails."""

import getpass
import grp
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.facts.files import KEPT
from deploy.facts.systemd import Readings
from deploy.operations import trial
from deploy.operations.files import put_script

UNIT = "daemon.service"
#: A daemon that starts when its file says "good", and has a journal.
SYSTEMCTL = """#!/bin/sh
echo "$@" >>{root}/calls
case $1 in
    cat) test -e {root}/installed ;;
    start|restart|reload)
        if grep -q good {file}; then touch {root}/runs; else rm -f {root}/runs; exit 1; fi ;;
    is-active) test -e {root}/runs ;;
    show)
        case $* in
            *ActiveState*)
                if test -e {root}/runs; then echo ActiveState=active; else echo ActiveState=; fi
                echo 'ActiveEnterTimestamp=Mon 2026-11-23 20:29:53.500000 UTC'
                echo ActiveEnterTimestampMonotonic=3600000000
                echo InvocationID=0123 ;;
            *) cat {root}/type 2>/dev/null || echo notify ;;
        esac ;;
esac
"""
JOURNAL = "#!/bin/sh\necho 'unknown log opt max-size for journald'\n"


@dataclass(frozen=True)
class Box:
    """A folder with a daemon, and its file."""

    root: Path

    @property
    def file(self) -> Path:
        return self.root / "etc/daemon.json"

    def sh(self, script: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        path = f"{self.root}/bin:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-c", script.replace(KEPT, f"{self.root}/before")],
            input=stdin, env={"PATH": path}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def put(self, content: str) -> None:
        group = grp.getgrgid(os.getegid()).gr_name
        script = put_script(str(self.file), mode="644", user=getpass.getuser(), group=group,
                            validate="", reader=trial.read_by_unit(UNIT))  # fmt: skip
        done = self.sh(script, content)
        assert done.returncode == 0, done.stderr

    def start(self, check: str = "true") -> "subprocess.CompletedProcess[str]":
        command = f"{check} && systemctl restart {UNIT}"
        return self.sh(trial.start(UNIT, [str(self.file)], command))

    def kept(self) -> list[str]:
        return sorted(path.name for path in (self.root / "before").rglob("*") if path.is_file())

    def asks_kept(self) -> bool:
        script = Readings().command(unit=UNIT, paths=[str(self.file)])
        return Readings().process(self.sh(script).stdout.splitlines()).kept


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = Box(tmp_path)
    (tmp_path / "bin").mkdir()
    made.file.parent.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNAL)):
        tool = tmp_path / "bin" / name
        tool.write_text(text.format(root=tmp_path, file=made.file))
        tool.chmod(0o755)
    (tmp_path / "installed").touch()
    return made


def test_a_file_that_the_daemon_starts_with_stays(box: Box) -> None:
    box.file.write_text("good, the owner's\n")
    box.put("good, ours\n")
    assert box.kept() == ["daemon.json"]
    assert box.start().returncode == 0
    assert (box.file.read_text(), box.kept()) == ("good, ours\n", [])


def test_a_file_that_the_daemon_does_not_start_with_goes_and_the_old_one_runs(box: Box) -> None:
    box.file.write_text("good, the owner's\n")
    box.file.chmod(0o600)
    box.put("bad\n")
    done = box.start()
    assert done.returncode != 0
    assert box.file.read_text() == "good, the owner's\n"
    assert box.file.stat().st_mode & 0o777 == 0o600
    assert (box.root / "runs").exists()
    assert "unknown log opt max-size for journald" in done.stderr
    assert f"put back as before: {box.file}; {UNIT} runs" in done.stderr
    assert box.kept() == []
    assert [path.name for path in box.file.parent.iterdir()] == ["daemon.json"]


def test_a_file_that_was_not_there_goes_again(box: Box) -> None:
    box.put("bad\n")
    assert box.start().returncode != 0
    assert not box.file.exists()


def test_what_no_start_has_tried_is_not_what_comes_back(box: Box) -> None:
    box.file.write_text("good, the owner's\n")
    box.put("bad, of a run that broke off\n")
    box.put("bad\n")
    assert box.start().returncode != 0
    assert box.file.read_text() == "good, the owner's\n"


def test_a_mistake_that_a_check_finds_is_put_back_before_a_start(box: Box) -> None:
    box.file.write_text("good, the owner's\n")
    box.put("bad\n")
    done = box.start(check="echo 'line 1 is wrong' >&2 && false")
    assert done.returncode != 0
    assert "line 1 is wrong" in done.stderr
    assert box.file.read_text() == "good, the owner's\n"


def test_a_daemon_that_ends_soon_after_its_start_has_failed(box: Box) -> None:
    (box.root / "type").write_text("simple\n")
    (box.root / "bin/sleep").write_text(f"#!/bin/sh\nrm -f {box.root}/runs\n")
    (box.root / "bin/sleep").chmod(0o755)
    box.file.write_text("good, the owner's\n")
    box.put("good, but not for long\n")
    assert box.start().returncode != 0
    assert box.file.read_text() == "good, the owner's\n"


def test_where_nothing_was_changed_nothing_is_put_back(box: Box) -> None:
    box.file.write_text("bad, the owner's\n")
    done = box.start()
    assert done.returncode != 0
    assert "put back" not in done.stderr
    assert box.file.read_text() == "bad, the owner's\n"


def test_a_link_is_followed_both_ways(box: Box) -> None:
    real = box.root / "real.json"
    real.write_text("good, the owner's\n")
    box.file.symlink_to(real)
    box.put("bad\n")
    assert box.start().returncode != 0
    assert box.file.is_symlink()
    assert real.read_text() == "good, the owner's\n"


def test_without_the_daemon_nothing_is_kept(box: Box) -> None:
    (box.root / "installed").unlink()
    box.file.write_text("old\n")
    box.put("good\n")
    assert box.kept() == []


def test_what_a_running_daemon_has_read_is_known_as_tried(box: Box) -> None:
    box.file.write_text("good, the owner's\n")
    assert not box.asks_kept()
    box.put("good, ours\n")
    assert not box.asks_kept()  # it does not run
    (box.root / "runs").touch()
    assert box.asks_kept()
    assert box.sh(trial.forget([str(box.file)])).returncode == 0
    assert not box.asks_kept()


@pytest.mark.parametrize(("works", "left"), [("true", "new\n"), ("false", "old\n")])
def test_a_command_tries_as_well(box: Box, works: str, left: str) -> None:
    box.file.write_text("old\n")
    box.put("new\n")
    done = box.sh(trial.attempt(works, [str(box.file)]))
    assert (done.returncode == 0) is (works == "true")
    assert (box.file.read_text(), box.kept()) == (left, [])


def test_a_file_keeps_owner_and_mode_where_none_are_given(box: Box) -> None:
    box.file.write_text("a login of a proxy\n")
    box.file.chmod(0o600)
    script = put_script(str(box.file), mode="644", user="", group="", validate="")
    assert box.sh(script, "new\n").returncode == 0
    assert box.file.stat().st_mode & 0o777 == 0o600
    box.file.unlink()
    assert box.sh(script, "new\n").returncode == 0
    assert box.file.stat().st_mode & 0o777 == 0o644
