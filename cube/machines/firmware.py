"""UEFI firmware for virtual machines, wherever this machine keeps it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from cube.errors import HostError


@dataclass(frozen=True, kw_only=True)
class Uefi:
    """A firmware image without Secure Boot, and the template of its variables."""

    code: Path
    variables: Path


#: Code and variables by distribution, the newest layout first. Source: the file lists of the
#: packages ovmf (Debian, Ubuntu), edk2-ovmf (Fedora, Arch) and qemu (Homebrew).
KNOWN = tuple(
    Uefi(code=Path(folder) / code, variables=Path(folder) / variables)
    for folder, code, variables in (
        ("/usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF", "OVMF_CODE.fd", "OVMF_VARS.fd"),
        ("/usr/share/edk2/ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"),
        ("/usr/share/edk2/x64", "OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),
        ("/opt/homebrew/share/qemu", "edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
        ("/usr/local/share/qemu", "edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
    )
)


def find() -> Uefi:
    """Return this machine's UEFI firmware.

    Raises:
        HostError: there is none.
    """
    for known in KNOWN:
        if known.code.is_file() and known.variables.is_file():
            return known
    raise HostError("no UEFI firmware for QEMU was found", hint="install the package ovmf")


def copy_variables(run_dir: Path) -> Uefi:
    """Give a machine variables of its own.

    Raises:
        HostError: this machine has no UEFI firmware.
    """
    found = find()
    own = run_dir / "uefi-variables.fd"
    shutil.copyfile(found.variables, own)
    return Uefi(code=found.code, variables=own)
