"""How testinfra talks to a machine: through one shell that stays open, of root's or the user's.

It replaces testinfra's own SSH connection under its name: the way in is that of all commands.
"""

from typing import Any

import testinfra.backend
from testinfra.backend.base import CommandResult
from testinfra.backend.ssh import SshBackend

from checks.targets import CONNECT_S
from cube.machines import Endpoint, ssh
from cube.machines.ssh import FAILED
from cube.runtime.shell import NOBODY, Shell

#: Seconds for one command. pytest limits each check; the longest suite has half an hour.
ANSWER_S = 3600.0
#: How each machine is reached, by its name.
ways: dict[str, Endpoint] = {}
#: The shells that are open, by machine, and whether each is root's.
_shells: dict[tuple[str, bool], Shell] = {}


class RootShell(SshBackend):  # type: ignore[misc] # testinfra has no types
    """testinfra's SSH connection, with a shell that is open already."""

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:  # noqa: ANN401, ARG002 (testinfra's signature)
        """Run a command.

        Raises:
            RuntimeError: the connection is lost; its argument is the result, with code 255.
            CommandError: the command did not end in time.
        """
        words = self.quote(command, *args)
        if self.sudo and self.sudo_user is not None:
            words = self.get_sudo_command(words, self.sudo_user)
        shell = open_shell(self.host.name, root=bool(self.sudo))
        answer = shell.run(words, timeout_s=ANSWER_S)
        # One that never answered was refused: ssh or sudo says so by its code.
        lost = answer.lost and (shell.answered or answer.returncode == FAILED)
        code = FAILED if lost else answer.returncode
        result = self.result(code, self.encode(words), answer.stdout, answer.stderr)
        if lost:
            raise RuntimeError(result)
        return result


def open_shell(name: str, *, root: bool) -> Shell:
    """Return the shell of a machine; it connects at its first command."""
    way = ways[name]
    rights = way.rights if root else NOBODY
    argv = ssh.shell_args(way, rights, connect_s=CONNECT_S)
    return _shells.setdefault((name, root), Shell(argv, rights=rights))


def use() -> None:
    """Let testinfra make its SSH connections so."""
    testinfra.backend.BACKENDS[SshBackend.NAME] = f"{__name__}.{RootShell.__name__}"


def close() -> None:
    """End every shell that is open."""
    while _shells:
        _shells.popitem()[1].close()
