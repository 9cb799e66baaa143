"""UEFI firmware for virtual machines, wherever this machine keeps it."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from cube.runtime.errors import HostError


@dataclass(frozen=True, kw_only=True)
class Uefi:
    """A firmware image and the template of its variables.

    Args:
        code: the firmware; it is only read.
        variables: its variables, which a machine writes to.
        secure_boot: the firmware enforces Secure Boot: Microsoft's keys are enrolled in the
            variables, and only code in system management mode can write them.
    """

    code: Path
    variables: Path
    secure_boot: bool = False


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

#: The same with Microsoft's keys enrolled. Arch and Homebrew ship no such variables.
#: Source: the file lists of the packages ovmf (Debian, Ubuntu), edk2-ovmf (Fedora) and
#: qemu-ovmf-x86_64 (openSUSE), and QEMU's firmware descriptors with the features "enrolled-keys",
#: "requires-smm" and "secure-boot" in /usr/share/qemu/firmware.
KNOWN_SECURE = tuple(
    Uefi(code=Path(folder) / code, variables=Path(folder) / variables, secure_boot=True)
    for folder, code, variables in (
        ("/usr/share/OVMF", "OVMF_CODE_4M.ms.fd", "OVMF_VARS_4M.ms.fd"),
        ("/usr/share/OVMF", "OVMF_CODE.ms.fd", "OVMF_VARS.ms.fd"),
        ("/usr/share/edk2/ovmf", "OVMF_CODE.secboot.fd", "OVMF_VARS.secboot.fd"),
        ("/usr/share/qemu", "ovmf-x86_64-smm-ms-code.bin", "ovmf-x86_64-smm-ms-vars.bin"),
    )
)

#: The packages of `KNOWN_SECURE`.
INSTALL_SECURE = (
    "install the package ovmf (Debian, Ubuntu), edk2-ovmf (Fedora) or qemu-ovmf-x86_64 (openSUSE)"
)


def find(*, secure_boot: bool = False) -> Uefi:
    """Return this machine's UEFI firmware.

    Args:
        secure_boot: the firmware must enforce Secure Boot with Microsoft's keys.

    Raises:
        HostError: there is none.
    """
    for known in KNOWN_SECURE if secure_boot else KNOWN:
        if known.code.is_file() and known.variables.is_file():
            return known
    if secure_boot:
        raise HostError(
            "no UEFI firmware with Secure Boot and Microsoft's keys for QEMU was found",
            hint=f"{INSTALL_SECURE}; or boot without Secure Boot: --firmware uefi",
        )
    raise HostError("no UEFI firmware for QEMU was found", hint="install the package ovmf")


def has_secure_boot() -> bool:
    """Return whether this machine has firmware that enforces Secure Boot."""
    try:
        find(secure_boot=True)
    except HostError:
        return False
    return True


def copy_variables(run_dir: Path, *, secure_boot: bool = False) -> Uefi:
    """Give a machine variables of its own.

    Raises:
        HostError: this machine has no such firmware.
    """
    found = find(secure_boot=secure_boot)
    own = run_dir / "uefi-variables.fd"
    shutil.copyfile(found.variables, own)
    return replace(found, variables=own)
