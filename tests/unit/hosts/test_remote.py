"""Commands on a host by OpenSSH's client, whatever its login shell, sshd and sudo do."""

import getpass
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from cube.hosts import passwords, record, remote
from cube.hosts.target import Box
from cube.hosts.validation import remote_lock
from cube.machines import Endpoint, ssh
from cube.runtime import log, run
from cube.runtime.errors import BusyError, CommandError, MachineError
from tests.unit import sshd
from tests.unit.greeter import serving
from tests.unit.sshd import Login

#: A sudo that is asked as ours is: without a password, or by -S with its prompt.
SUDO = """#!/bin/sh
password=$(cat "$0.password" 2>/dev/null)
words="$*"
while :; do
    case $1 in
        -n) quiet=yes; shift ;;
        -k|-H) shift ;;
        -S) asks=yes; shift ;;
        -p) prompt=$2; shift 2 ;;
        *) break ;;
    esac
done
if [ -e "$0.terminal" ] && ! (: </dev/tty) 2>/dev/null; then
    echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1
fi
if [ "$password" ]; then
    [ "$asks" ] || { echo 'sudo: a password is required' >&2; exit 1; }
    for attempt in 1 2 3; do
        printf %s "$prompt" >&2
        IFS= read -r given || exit 1
        echo "$given" >>"$0.given"
        [ "$given" = "$password" ] && exec "$@"
    done
    exit 1
fi
exec "$@"
"""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    ssh.make_key(tmp_path / "id")
    return tmp_path / "id"


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the program first on every PATH."""
    program = tmp_path / "bin" / "sudo"
    program.parent.mkdir()
    program.write_text(SUDO)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return program


Host = Callable[[Login], Box]


@pytest.fixture
def host(tmp_path: Path, key: Path, sudo: Path) -> Iterator[Host]:
    """Start a host whose logins are as described; it ends with the test."""
    with ExitStack() as stack:

        def start(login: Login) -> Box:
            port = stack.enter_context(sshd.serving(key.with_suffix(".pub"), login))
            access = Endpoint(
                host="127.0.0.1",
                port=port,
                user="anna",
                key_file=key,
                known_hosts=tmp_path / "known_hosts",
            )
            return Box(name="desk1", endpoint=access)

        yield start


def bash(tmp_path: Path, bashrc: str) -> Login:
    """A login of bash that reads a .bashrc, as Debian's does for every command over SSH."""
    (tmp_path / ".bashrc").write_text(bashrc)
    return Login(shell=["/bin/bash", "-c"], env={"HOME": str(tmp_path)})


LOUD = "echo welcome to the machine\necho careful >&2\nprintf 'no end'\n"


@pytest.mark.parametrize("bashrc", ["", LOUD, "set -x\n", "exec 5>&1; echo '{}'\n"])
def test_what_a_login_prints_is_no_answer(bashrc: str, tmp_path: Path, host: Host) -> None:
    box = host(bash(tmp_path, bashrc))
    done = remote.execute(box, 'echo one\necho "it\'s $((1 + 1))"; echo two >&2')
    assert (done.stdout, done.stderr) == ("one\nit's 2\n", "two\n")
    assert record.read(box).problem.endswith("is missing")


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason="not here"))
        for name in ("bash", "dash", "tcsh", "fish", "zsh", "ksh")
    ],
)
def test_any_login_shell_will_do(shell: str, host: Host) -> None:
    box = host(Login(shell=[shell, "-c"]))
    script = 'for word in \'a b\' "c"; do\n    echo "[$word]"\ndone\n[ ! -e / ] || echo \\$1 !'
    assert remote.execute(box, script).stdout == "[a b]\n[c]\n$1 !\n"


def test_the_login_shell_gets_words_that_every_shell_reads_alike(host: Host) -> None:
    login = Login(shell=["/bin/sh", "-c"])
    remote.execute(host(login), "echo 'a'; exit 0")
    assert login.commands == ["exec env LC_ALL=C sudo -n -H sh"]


def test_answers_are_in_plain_english(host: Host) -> None:
    german = {"LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"}
    box = host(Login(shell=["/bin/sh", "-c"], env=german))
    assert remote.execute(box, "echo $LC_ALL ${LANGUAGE-none}").stdout == "C.UTF-8 none\n"


def test_root_finds_the_programs_of_the_administrator(host: Host) -> None:
    box = host(Login(shell=["/bin/sh", "-c"], env={"PATH": os.environ["PATH"]}))
    assert remote.execute(box, "echo $PATH").stdout.strip().endswith(":/usr/sbin:/sbin")


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ("echo 'This account is currently not available.'; exit 1", "is currently not available"),
        ("sleep 0.1", "cannot become root: exit code 0"),
        ("echo 'rbash: exec: restricted' >&2; exit 127", "restricted"),
    ],
)
def test_a_login_that_runs_nothing_is_refused_with_its_words(
    shell: str, said: str, host: Host
) -> None:
    with pytest.raises(MachineError, match=said):
        remote.execute(host(Login(shell=["/bin/sh", "-c", shell])), "true")


def test_a_login_that_asks_a_question_gets_an_empty_line(tmp_path: Path, host: Host) -> None:
    box = host(bash(tmp_path, "printf 'Update? '; read -r word; echo \"[$word]\"\n"))
    assert remote.execute(box, "echo $LC_ALL").stdout == "C.UTF-8\n"


@pytest.mark.parametrize("bashrc", ["sleep 600\n", "cat\n", "yes\n"])
def test_a_login_that_hangs_is_given_up(bashrc: str, tmp_path: Path, host: Host) -> None:
    started = time.monotonic()
    with pytest.raises((CommandError, MachineError)):
        remote.execute(host(bash(tmp_path, bashrc)), "true", timeout_s=2)
    assert time.monotonic() - started < 20


def test_a_login_shell_that_hangs_is_named(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LOGIN_S", 1.0)
    with pytest.raises(MachineError, match="the login shell does not answer") as caught:
        remote.reach(host(bash(tmp_path, "sleep 600\n")))
    assert ".bashrc" in caught.value.hint


def test_a_script_that_fails_is_no_closed_door(host: Host) -> None:
    box = host(Login(shell=["/bin/sh", "-c"]))
    assert remote.execute(box, "exit 255", accept=(255,)).returncode == 255
    with pytest.raises(CommandError, match=r"desk1: echo sudo: .* exit code 3") as caught:
        remote.execute(box, "\n\necho sudo: a password is required >&2\nexit 3")
    assert "a password is required" in caught.value.output


def test_a_connection_that_breaks_is_no_answer(host: Host) -> None:
    box = host(Login(shell=["/bin/sh", "-c"]))
    with pytest.raises(MachineError, match="the connection broke: kill"):
        remote.execute(box, "kill -9 $PPID")


def test_each_line_comes_while_the_script_runs(tmp_path: Path, host: Host) -> None:
    heard: list[str] = []
    box = host(bash(tmp_path, LOUD))
    answer = remote.ask(box, "echo a; echo; printf b; exit 3", timeout_s=20, on_line=heard.append)
    assert (heard, answer.returncode) == (["a", "", "b"], 3)


def test_a_boot_without_an_identity_is_none(host: Host) -> None:
    box = host(Login(shell=["/bin/sh", "-c", 'echo welcome; exec sh -c "$0"']))
    assert len(remote.boot_id(box)) == 36


def test_one_validation_at_a_time(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_lock, "OPEN", f"exec 9>{tmp_path}/lock\n")
    box = host(bash(tmp_path, LOUD))
    with remote_lock.holding(box):
        with pytest.raises(BusyError), remote_lock.holding(box):
            pass
        assert not run.run(["flock", "-n", tmp_path / "lock", "true"], accept=(1,)).stdout
    with remote_lock.holding(box):
        pass


def configured(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str) -> Box:
    """Reach a host by an alias of OpenSSH's configuration."""
    access = box.endpoint
    (tmp_path / "config").write_text(
        f"Host desk\n HostName 127.0.0.1\n Port {access.port}\n User anna\n{options}\n"
        f" UserKnownHostsFile {tmp_path}/known_hosts\n"
    )
    real = shutil.which("ssh")
    client = tmp_path / "bin" / "ssh"
    client.write_text(f'#!/bin/sh\nexec {real} -F {tmp_path}/config "$@"\n')
    client.chmod(0o755)
    return replace(box, endpoint=replace(access, alias="desk", key_file=None, known_hosts=None))


@pytest.mark.parametrize(
    "options",
    [
        " RemoteCommand tmux new -A",
        " PermitLocalCommand yes\n LocalCommand echo local words",
        " RequestTTY force",
        " StdinNull yes",
        " ForkAfterAuthentication yes",
        " SessionType none",
        " LogLevel DEBUG3",
        " LocalForward 1 127.0.0.1:1\n ExitOnForwardFailure yes",
        " VisualHostKey yes",
        " ControlMaster auto\n ControlPath /nowhere/%C",
    ],
)
def test_what_a_person_has_configured_for_the_terminal_is_no_answer(
    options: str, tmp_path: Path, key: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = host(Login(shell=["/bin/sh", "-c"]))
    found = configured(box, tmp_path, monkeypatch, f" IdentityFile {key}\n{options}")
    done = remote.execute(found, "echo one; echo two >&2", timeout_s=20)
    assert (done.stdout, done.stderr) == ("one\n", "two\n")


def test_openssh_expands_its_tokens(
    tmp_path: Path, key: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    key.rename(tmp_path / "id_127.0.0.1")
    box = host(Login(shell=["/bin/sh", "-c"]))
    found = configured(box, tmp_path, monkeypatch, f" IdentityFile {tmp_path}/id_%h")
    assert remote.execute(found, "echo in").stdout == "in\n"


def test_a_proxy_is_gone_through(
    tmp_path: Path, key: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = host(Login(shell=["/bin/sh", "-c"]))
    proxy = tmp_path / "proxy.py"
    proxy.write_text(
        "import socket, sys, threading, os\n"
        "line = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while data := os.read(0, 65536): line.sendall(data)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := line.recv(65536): os.write(1, data)\n"
    )
    options = f" IdentityFile {key}\n ProxyCommand python3 {proxy} %h %p"
    found = configured(box, tmp_path, monkeypatch, options)
    assert remote.execute(found, "echo in").stdout == "in\n"


def test_all_keys_are_offered_in_one_connection(
    tmp_path: Path, key: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = Login(shell=["/bin/sh", "-c"])
    box = host(login)
    wrong = [tmp_path / f"wrong{number}" for number in range(4)]
    for one in wrong:
        ssh.make_key(one)
    options = "".join(f" IdentityFile {one}\n" for one in [*wrong, key])
    found = remote.reach(configured(box, tmp_path, monkeypatch, options))
    remote.execute(found, "true")
    remote.hang_up(found)
    assert login.connections == 1
    assert len(set(login.keys)) == 5


@pytest.mark.parametrize("greeting", [b"Not allowed at this time\r\n", b"\r\n"])
def test_a_barred_address_is_told_to_wait(greeting: bytes, tmp_path: Path, key: Path) -> None:
    with serving(greeting) as port:
        access = Endpoint(
            host="127.0.0.1", port=port, user="anna", key_file=key, known_hosts=tmp_path / "h"
        )
        with pytest.raises(MachineError, match="cannot log in as anna") as caught:
            remote.execute(Box(name="desk1", endpoint=access), "true")
    assert "wait" in caught.value.hint


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        endpoint = Endpoint(
            host="127.0.0.1",
            port=reserved.getsockname()[1],
            user="u",
            key_file=tmp_path / "k",
            known_hosts=tmp_path / "h",
        )
        with pytest.raises(MachineError) as caught:
            remote.reach(Box(name="desk1", endpoint=endpoint))
    assert "desk1: cannot log in as u@127.0.0.1:" in caught.value.message
    assert "Connection refused" in caught.value.message
    assert caught.value.hint.startswith("try: ssh -F none -p ")


def asked(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Answer questions for passwords; they are noted."""
    questions: list[str] = []
    monkeypatch.setattr(passwords, "_asked", {})
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)

    def answer(question: str) -> str:
        questions.append(question)
        return answers[len(questions) - 1]

    monkeypatch.setattr(getpass, "getpass", answer)
    return questions


def test_a_password_is_asked_once_and_is_nowhere_but_in_memory(
    host: Host, sudo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sudo.with_name("sudo.password").write_text("it's a secret $(word)")
    questions = asked(monkeypatch, "it's a secret $(word)")
    told: list[str] = []
    login = Login(shell=["/bin/sh", "-c"])
    with log.apart(lambda event: told.append(f"{event.text} {event.data}")):
        box = remote.reach(host(login))
        seen = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
        processes = remote.execute(box, seen).stdout
        assert remote.execute(box, "echo in").stdout == "in\n"
    remote.hang_up(box)
    assert questions == ["password of anna for sudo: "]
    assert "it's a secret" not in processes
    assert "it's a secret" not in " ".join([*told, *login.commands, *os.environ.values()])


def test_a_wrong_password_is_tried_once(
    host: Host, sudo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sudo.with_name("sudo.password").write_text("right")
    asked(monkeypatch, "wrong")
    with pytest.raises(MachineError, match="cannot become root: the password is wrong"):
        remote.reach(host(Login(shell=["/bin/sh", "-c"])))
    assert sudo.with_name("sudo.given").read_text() == "wrong\n"


def test_without_a_terminal_nobody_is_asked(
    host: Host, sudo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sudo.with_name("sudo.password").write_text("right")
    questions = asked(monkeypatch)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(MachineError, match="a password is required") as caught:
        remote.reach(host(Login(shell=["/bin/sh", "-c"])))
    assert "in a terminal" in caught.value.hint
    assert questions == []


def test_a_password_is_never_sent_to_who_does_not_ask(
    host: Host, sudo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = passwords.serve("the password")
    box = host(Login(shell=["/bin/sh", "-c"]))
    found = replace(box, endpoint=replace(box.endpoint, secret=secret))
    assert remote.execute(found, "echo in").stdout == "in\n"
    assert not sudo.with_name("sudo.given").exists()


@pytest.mark.skipif(not shutil.which("script"), reason="not here")
def test_a_sudo_that_wants_a_terminal_gets_one(host: Host, sudo: Path) -> None:
    sudo.with_name("sudo.terminal").touch()
    box = remote.reach(host(Login(shell=["setsid", "/bin/sh", "-c"])))
    assert box.endpoint.terminal
    done = remote.execute(box, "echo one; echo two >&2; head -c 100000 /dev/zero")
    remote.hang_up(box)
    assert (len(done.stdout), done.stderr) == (100_004, "two\n")
