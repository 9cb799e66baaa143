"""What goes into a template's variables: paths, sizes and QEMU's words; never a secret."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cube.config import Spec
from cube.config.workspace import Workspace
from cube.machines import BUILD_USER
from cube.machines.qemu import firmware

Value = str | int
Inputs = Mapping[str, Value]

#: Until sshd lets the build key in, by accelerator. Source: 76 s were measured under tcg.
BOOT_TIMEOUT_S = {"tcg": 900, "kvm": 300, "hvf": 300}
#: Until the Ubuntu installer powers off, by accelerator.
INSTALL_TIMEOUT_S = {"tcg": 4 * 3600, "kvm": 3600, "hvf": 3600}
#: A vCPU that emulation can be trusted with: with cmpxchg16b, or with two, guests crashed.
#: Source: measured with QEMU 7.2.
EMULATED_CPU, EMULATED_CPUS = "max,-cx16", 1
#: Emulation's cache of translated code, in MiB; the boot of a kernel overflows the default.
TRANSLATION_MIB = 512
#: The live installer runs from memory. Source: Ubuntu Server's system requirements, with room.
INSTALLER_MIB = 4096


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Where the files of one Packer run are."""

    work: Path

    @classmethod
    def of(cls, workspace: Workspace) -> "Folder":
        """Return the folder of a build; nothing is made on disk."""
        return cls(work=workspace.work / "packer")

    @property
    def output(self) -> Path:
        """Folder that Packer makes for its disk."""
        return self.work / "output"

    @property
    def disk(self) -> Path:
        """The disk that Packer makes."""
        return self.output / "disk.raw"

    @property
    def installed(self) -> Path:
        """The disk that the Ubuntu installer has filled."""
        return self.work / "installed.img"

    @property
    def console(self) -> Path:
        """What the guest says on its serial line."""
        return self.work / "console.log"

    @property
    def log(self) -> Path:
        """What Packer says to itself."""
        return self.work / "packer.log"

    @property
    def seed(self) -> Path:
        """NoCloud seed of the first boot."""
        return self.work / "seed"

    @property
    def install_seed(self) -> Path:
        """NoCloud seed of the Ubuntu installer."""
        return self.work / "install-seed"

    @property
    def kernel(self) -> Path:
        """The installer's kernel, taken from the ISO."""
        return self.work / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The installer's initial RAM disk, taken from the ISO."""
        return self.work / "initrd"

    @property
    def firmware_vars(self) -> Path:
        """The machine's UEFI variables, where `firmware.copy_variables` puts them."""
        return self.work / "uefi-variables.fd"


def hardware(spec: Spec, accelerator: str) -> dict[str, Value]:
    """Return the variables for the virtual machine, in QEMU's words."""
    emulated = accelerator == "tcg"
    needed_mib = INSTALLER_MIB if spec.image.os == "ubuntu-24.04" else 0
    return {
        "qemu_accel": f"tcg,tb-size={TRANSLATION_MIB}" if emulated else accelerator,
        "qemu_cpu": EMULATED_CPU if emulated else "host",
        "cpus": min(spec.build.cpus, EMULATED_CPUS) if emulated else spec.build.cpus,
        "memory_mib": max(spec.build.memory, needed_mib),
    }


def built(spec: Spec, folder: Folder) -> dict[str, Value]:
    """Return the variables of every build: the disk that Packer makes, and the serial line."""
    return {
        "disk_size": f"{spec.image.disk_size}M",
        "output_dir": str(folder.output),
        "console_log": str(folder.console),
    }


def first_boot(
    spec: Spec, folder: Folder, *, disk: Path, key_file: Path, nonce: str, timeout_s: int
) -> dict[str, Value]:
    """Return the variables of the boot that proves the image.

    Packer reads the disk's place as a URL, in which a percent sign has a meaning of its own.
    """
    return {
        **built(spec, folder),
        "disk": disk.absolute().as_uri(),
        "seed_dir": str(folder.seed),
        "ssh_user": BUILD_USER,
        "ssh_key_file": str(key_file),
        "ssh_timeout": f"{timeout_s}s",
        "nonce": nonce,
    }


def installer(
    spec: Spec, folder: Folder, *, iso: Path, iso_sha256: str, timeout_s: int
) -> dict[str, Value]:
    """Return the variables of the Ubuntu installer, which runs under UEFI."""
    return {
        **built(spec, folder),
        "iso": iso.absolute().as_uri(),
        "iso_sha256": iso_sha256,
        "kernel": str(folder.kernel),
        "initrd": str(folder.initrd),
        "install_seed_dir": str(folder.install_seed),
        "install_timeout": f"{timeout_s}s",
        "firmware_code": str(firmware.find().code),
        "firmware_vars": str(folder.firmware_vars),
    }


def write(values: Inputs, path: Path) -> Path:
    """Write a variables file."""
    path.write_text(json.dumps(values, indent=2) + "\n")
    return path
