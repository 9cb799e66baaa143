"""What a host is asked, by a real shell with programs of this test in front, and what it says."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from cube.hosts import survey
from cube.hosts.survey import QUESTIONS, Survey
from cube.runtime.errors import CommandError

MARK = "0123456789abcdef" * 2
#: What dpkg-query prints for the format of the question.
PACKAGES = """\
ii  bash
iU  unpacked
iF  half-configured
iHR half-installed
iiR reinstall
rc  removed
it  triggers-pending
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that is searched first."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def install(host: Path, programs: Mapping[str, str]) -> None:
    for name, script in programs.items():
        (host / name).write_text(f"#!/bin/sh\n{script}\n")
        (host / name).chmod(0o755)


def asked(*questions: str) -> Survey:
    done = subprocess.run(
        ["sh", "-c", survey.script(questions, MARK)], capture_output=True, text=True, check=True
    )
    return survey.parse(done.stdout, MARK)


def test_packages_that_are_half_installed_are_named(host: Path) -> None:
    text = PACKAGES.replace("\n", "\\n")
    install(host, {"dpkg-query": f"printf '{text}'"})
    names = ("unpacked", "half-configured", "half-installed", "reinstall")
    assert [name.strip() for name in asked("unfinished").of("unfinished")] == list(names)


def test_the_real_dpkg_understands_the_questions() -> None:
    for question in ("unfinished", "engines", "drivers"):
        script = QUESTIONS[question].split("|", 1)[0]
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        assert "unrecognised" not in done.stderr
        assert "error in show format" not in done.stderr


@pytest.mark.parametrize(
    ("live", "threatened"), [("true", ()), ("false", ("web", "db")), ("", ("web", "db"))]
)
def test_containers_are_safe_only_where_they_outlive_the_daemon(
    live: str, threatened: tuple[str, ...], host: Path
) -> None:
    install(host, {"docker": f'case "$1" in ps) printf "web\\ndb\\n";; info) echo "{live}";; esac'})
    assert asked("containers", "live_restore").threatened_containers == threatened


def test_a_program_that_fails_or_prints_our_words_changes_no_other_answer(host: Path) -> None:
    install(
        host,
        {
            "docker": f"echo {MARK[:-1]} held; exit 1",
            "apt-mark": "echo linux-image-amd64",
            "ufw": "echo half a line >&2; printf 'Status: active'",
        },
    )
    seen = asked("containers", "firewall", "held")
    assert seen.of("containers") == (f"{MARK[:-1]} held",)
    assert seen.of("firewall") == ("Status: active",)
    assert seen.of("held") == ("linux-image-amd64",)


def test_an_answer_that_breaks_off_is_an_error() -> None:
    text = f"\n{MARK} held\nlinux-image\n"
    with pytest.raises(CommandError, match="was interrupted"):
        survey.parse(text, MARK)


UFW = """\
Status: active

To                         Action      From
--                         ------      ----
22/tcp                     LIMIT       Anywhere
Samba                      ALLOW       192.0.2.0/24
"""


@pytest.mark.parametrize(
    ("text", "rules", "firewalld"),
    [
        (UFW, 2, False),
        ("Status: inactive\n", None, False),
        ("Status: inactive\nfirewalld\n", None, True),
        ("", None, False),
    ],
)
def test_the_firewall_is_told(text: str, rules: int | None, firewalld: bool) -> None:
    seen = survey.parse(f"{MARK} firewall\n{text}\n{MARK} end\n", MARK)
    assert (seen.ufw_rules, seen.firewalld) == (rules, firewalld)


def test_sshd_is_read_by_setting() -> None:
    text = f"{MARK} sshd\nport 22\nport 2222\npermitrootlogin without-password\n{MARK} end\n"
    seen = survey.parse(text, MARK)
    assert seen.sshd("port") == ("22", "2222")
    assert seen.sshd("permitrootlogin") == ("without-password",)
    assert seen.sshd("none") == ()
