"""Commands and files of pyinfra through OpenSSH's client, on a real server of loopback."""

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cube.machines import Endpoint, ssh
from deploy.connector.entry import Rights
from deploy.connector.openssh import OpenSsh, Pipe, rights_of
from deploy.connector.shell import Shell
from tests.unit import sshd
from tests.unit.sshd import Login

LOUD = "echo welcome; echo careful >&2; printf 'no end'; . /dev/null\n"


@pytest.fixture
def login(tmp_path: Path) -> Login:
    (tmp_path / ".bashrc").write_text(LOUD)
    return Login(shell=["/bin/bash", "-c"], env={"HOME": str(tmp_path)})


@pytest.fixture
def client(tmp_path: Path, login: Login) -> Iterator[OpenSsh]:
    """A host whose account is root, and whose login is loud."""
    ssh.make_key(tmp_path / "id")
    with sshd.serving(tmp_path / "id.pub", login) as port:
        access = Endpoint(
            host="127.0.0.1",
            port=port,
            user="root",
            key_file=tmp_path / "id",
            known_hosts=tmp_path / "known_hosts",
        )
        made = OpenSsh(argv=ssh.program_args(access, connect_s=10), rights=Rights())
        made.connect()
        yield made
        made.close()


def test_commands_share_one_connection_and_answer_what_they_print(
    client: OpenSsh, login: Login
) -> None:
    code, output = client.run("sh -c 'echo one; echo two >&2; exit 3'", root=True)
    assert (code, output.stdout_lines, output.stderr_lines) == (3, ["one"], ["two"])
    code, output = client.run("sh -c 'printf \"a\\n\\nb\"'", root=False)
    assert (code, output.stdout_lines) == (0, ["a", "", "b"])
    assert login.connections == 1


def test_a_command_reads_what_it_is_given_and_nothing_else(client: OpenSsh) -> None:
    assert client.run("sh -c cat", root=True)[1].stdout_lines == []
    text = "it's one\n$(two)\n"
    assert client.run("sh -c cat", root=True, stdin=text)[1].stdout == "it's one\n$(two)"


def test_output_that_is_no_text_is_no_crash(client: OpenSsh) -> None:
    assert (
        client.run("sh -c 'printf \"\\377\\n\"'", root=True)[1].stdout
        == "\N{REPLACEMENT CHARACTER}"
    )


def test_files_go_there_and_back(client: OpenSsh, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    client.put(io.BytesIO(data), str(tmp_path / "it's a file"))
    assert (tmp_path / "it's a file").read_bytes() == data
    back = io.BytesIO()
    client.get(str(tmp_path / "it's a file"), back)
    assert back.getvalue() == data


def test_a_file_that_cannot_be_written_is_named(client: OpenSsh, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        client.put(io.BytesIO(b"x"), str(tmp_path / "nowhere/file"))


def test_a_command_that_takes_too_long_is_ended(client: OpenSsh) -> None:
    with pytest.raises(TimeoutError):
        client.run("sh -c 'sleep 60'", root=True, timeout_s=0.5)
    assert client.run("sh -c 'echo next'", root=True)[1].stdout == "next"


def test_a_connection_that_breaks_is_an_error(client: OpenSsh) -> None:
    with pytest.raises(OSError, match="the connection broke"):
        client.run("kill -9 $$", root=True)


def test_a_host_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    access = Endpoint(host="127.0.0.1", port=1, user="u", key_file=None, known_hosts=tmp_path / "h")
    made = OpenSsh(argv=ssh.program_args(access, connect_s=10), rights=Rights())
    with pytest.raises(OSError, match="Connection refused"):
        made.connect()
    made.close()


def test_facts_are_asked_through_a_session(client: OpenSsh) -> None:
    shell = Shell(lambda: Pipe(client, root=True), "")
    assert shell.ask(["sh -c 'echo one'", "sh -c 'echo two >&2'", "sh -c 'exit 1'"]) == [
        "one\n",
        "",
        None,
    ]
    shell.close()


def test_a_changed_host_key_is_refused_below_a_line_of_an_authority(
    client: OpenSsh, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    name = known.read_text().split()[0]
    ssh.make_key(tmp_path / "other")
    other = (tmp_path / "other.pub").read_text().split()[:2]
    known.write_text(f"@cert-authority *.example.org {' '.join(other)}\n{name} {' '.join(other)}\n")
    made = OpenSsh(argv=fresh(client.argv), rights=Rights())
    with pytest.raises(OSError, match=r"[Hh]ost key"):
        made.connect()
    made.close()


def fresh(argv: Sequence[str]) -> list[str]:
    """Return a client's command without the options for its open connection, which come first."""
    *_, start = [place for place, word in enumerate(argv) if word.startswith("ControlPersist")]
    return [argv[0], *argv[start + 1 :]]


@pytest.mark.parametrize(
    ("data", "rights"),
    [
        ({"become": "sudo", "terminal": False, "secret": ""}, Rights(become="sudo")),
        (
            {"become": "su", "terminal": True, "secret": "/s"},
            Rights(become="su", terminal=True, secret=Path("/s")),
        ),
    ],
)
def test_rights_are_read_as_they_are_described(data: dict[str, object], rights: Rights) -> None:
    assert rights_of(data) == rights
