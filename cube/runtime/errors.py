"""The failures a user can meet, each with an exit code of its own.

Every error says what failed, with the value, and its hint says what to do next. They are
caught once, in `cube.cli.command_line`; nothing else turns an error into an exit.
"""

import errno

from cube.runtime.redact import masked

#: What the kernel says of a disk, or a quota, without room. Source: write(2).
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: How a person makes room for a build.
MAKE_ROOM = "cube chain prune --keep 1 removes older links"


class CubeError(Exception):
    """A foreseeable failure, told in one line; a login in a URL is left out.

    Args:
        message: what failed, with the value that made it fail.
        hint: what the person can do next; empty when nothing helps.
        details: lines worth reading (a log's tail), shown below the message.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        self.message = masked(message)
        self.hint = masked(hint)
        self.details = masked(details)
        super().__init__(self.message)


class SpecError(CubeError):
    """cube.toml does not describe an image that can be built."""

    exit_code = 3


class HostError(CubeError):
    """This machine lacks a tool, a right, memory or disk space."""

    exit_code = 4


class VerifyError(CubeError):
    """The pre-build gate (stage 1) found something wrong."""

    exit_code = 5


class PackerError(CubeError):
    """The bare OS image could not be made (stage 2)."""

    exit_code = 6


class MachineError(CubeError):
    """A virtual machine or a container did not start, answer or stop."""

    exit_code = 7


class ProvisionError(CubeError):
    """A layer could not be applied, or its second application changed something (stage 3)."""

    exit_code = 8


class CheckError(CubeError):
    """A check failed, or no check ran (stages 3 and 4)."""

    exit_code = 9


class SealError(CubeError):
    """The artifact could not be cleaned, compressed or described (stage 5)."""

    exit_code = 10


class ProofError(CubeError):
    """The sealed artifact did not prove itself when it was booted (stage 5)."""

    exit_code = 11


class BusyError(CubeError):
    """Another build holds the build folder, or its machine is still up there."""

    exit_code = 12


class ChainError(CubeError):
    """A link of the layer chain is missing, damaged or not what it says."""

    exit_code = 14


class DriftError(CubeError):
    """A box on the network differs from the layers that it claims, or claims none."""

    exit_code = 15


class SnapshotError(CubeError):
    """A box has no room for LVM snapshots of its root, or none that it can go back to."""

    exit_code = 16


class StackError(CubeError):
    """The GPU stack's versions cannot work together, or its data are wrong."""

    exit_code = 17


class ValidationError(CubeError):
    """A box did not pass the suites of stage 4, or one of them did not run there."""

    exit_code = 18


class PassportError(CubeError):
    """A box cannot be certified, or a passport is not what its signature says."""

    exit_code = 19


class HostsError(CubeError):
    """Of several boxes that were worked on side by side, at least one failed."""

    exit_code = 20


class PlanError(CubeError):
    """Layers were not applied to a host, as they would harm what its owner has there."""

    exit_code = 21


class CommandError(CubeError):
    """A program that we called failed, timed out or is missing.

    Args:
        message: what failed.
        returncode: the program's exit code; None when it never ended by itself.
        output: what it printed on both streams.
    """

    exit_code = 13

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        returncode: int | None = None,
        output: str = "",
    ) -> None:
        super().__init__(message, hint=hint, details=output)
        self.returncode = returncode
        self.output = output


#: Exit code for Ctrl-C and SIGTERM. Source: bash(1), "128+n" for a fatal signal n (SIGINT is 2).
INTERRUPTED = 130
