"""How testinfra talks to a machine: through one root shell that stays open.

Everything else is testinfra's own SSH connection, which this one replaces under its name.
"""

from typing import Any

import testinfra.backend
from testinfra.backend.base import CommandResult
from testinfra.backend.ssh import SshBackend

from cube.runtime.shell import Shell

#: What ssh ends with when the connection breaks. Source: ssh(1), EXIT STATUS
LOST = 255

#: The shells that are open, by the command that opened them.
_shells: dict[str, Shell] = {}


class RootShell(SshBackend):  # type: ignore[misc] # testinfra has no types
    """testinfra's SSH connection, with a shell that is open already.

    Commands as root go through the shell; without sudo each has a connection of its own.
    """

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:  # noqa: ANN401 (testinfra's signature)
        """Run a command.

        Raises:
            RuntimeError: the connection is lost; its argument is the result, with code 255.
        """
        if not self.sudo:
            return super().run(command, *args, **kwargs)
        words = self.quote(command, *args)
        if self.sudo_user is not None:
            words = self.get_sudo_command(words, self.sudo_user)
        shell = self._shell()
        answer = shell.run(words)
        # One that never answered was refused: ssh or sudo says so by its code.
        lost = answer.lost and (shell.answered or answer.returncode == LOST)
        code = LOST if lost else answer.returncode
        result = self.result(code, self.encode(words), answer.stdout, answer.stderr)
        if lost:
            raise RuntimeError(result)
        return result

    def _shell(self) -> Shell:
        command, words = self._build_ssh_command("sudo /bin/sh")
        line = self.quote(" ".join(command), *words)
        return _shells.setdefault(line, Shell(["/bin/sh", "-c", f"exec {line}"]))


def use() -> None:
    """Let testinfra make its SSH connections so."""
    testinfra.backend.BACKENDS[SshBackend.NAME] = f"{__name__}.{RootShell.__name__}"


def close() -> None:
    """End every shell that is open."""
    while _shells:
        _shells.popitem()[1].close()
