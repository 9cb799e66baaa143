"""One run of an image's template, and what is told when it fails."""

import shutil

from cube.baseimage.packer import inputs, tool
from cube.baseimage.packer.watch import Watch, console_tail
from cube.config import Spec, proxy_environment
from cube.config.workspace import Workspace
from cube.runtime.errors import CommandError, CubeError, PackerError

#: What follows the wait for the guest: proof, shutdown, copies of the disk.
REST_S = 1200
#: Lines of QEMU's own words that go into an error.
QEMU_LINES = 10
#: What QEMU says when it is us who end it.
OUR_SIGNAL = "terminating on signal"


def build(
    spec: Spec,
    workspace: Workspace,
    values: inputs.Inputs,
    *,
    source: str,
    what: str,
    wait_s: float,
) -> None:
    """Build one source of the template of `spec.image.os`.

    Args:
        spec: names the template.
        workspace: scratch and cache.
        values: every variable that the template has.
        source: the source's name in the template.
        what: how the wait is called.
        wait_s: seconds that the guest is waited for; the rest has `REST_S` more.

    Raises:
        PackerError: with what Packer, QEMU and the guest said last; nothing is left running.
    """
    folder = inputs.Folder.of(workspace)
    shutil.rmtree(folder.output, ignore_errors=True)
    folder.console.unlink(missing_ok=True)
    variables = inputs.write(values, folder.work / "variables.json")
    found = tool.version()
    try:
        with tool.staged(spec.image.os, folder.work, found) as staged:
            tool.init(
                staged,
                work=folder.work,
                cache=workspace.cache,
                found=found,
                env=proxy_environment(spec),
            )
            tool.call(
                ["build", f"-only=qemu.{source}", f"-var-file={variables}", staged],
                work=folder.work,
                cache=workspace.cache,
                timeout_s=wait_s + REST_S,
                on_tick=Watch(folder.console, what).tick,
            )
    except (PackerError, CommandError) as error:
        raise explained(error, what, folder) from error


def explained(error: CubeError, what: str, folder: inputs.Folder) -> PackerError:
    """Return the error with QEMU's words, which only Packer's log has, and the console's end."""
    packer_log = folder.log.read_text(errors="replace") if folder.log.exists() else ""
    parts = {
        "": error.details,
        "QEMU said:": qemu_words(packer_log),
        "The console's last lines:": console_tail(folder.console),
    }
    details = "\n".join(f"{title}\n{text}".strip() for title, text in parts.items() if text)
    hint = error.hint or f"the whole story is in {folder.log} and {folder.console}"
    return PackerError(f"{what}: {error.message}", hint=hint, details=details)


def qemu_words(packer_log: str) -> str:
    """Return what QEMU wrote to stderr, as Packer's log has it."""
    words = [line.partition("Qemu stderr: ")[2] for line in packer_log.splitlines()]
    telling = [line for line in words if line and OUR_SIGNAL not in line]
    return "\n".join(telling[-QEMU_LINES:])
