#!/usr/bin/python3 -I
"""Sign DKMS' modules with a key that only this machine has, and ask shim to enroll it.

    cube-secure-boot            what the unit runs at each boot
    cube-secure-boot --status   print how things stand; exit code 1 while something is to be done

With Secure Boot on, the kernel loads only modules that a known key has signed. An image carries no
private key, so each machine makes its own, signs the modules that came with the image, and asks
for the key's enrolment; a person confirms that at the console with a password that is used once.
Nothing is done where Secure Boot is off, where DKMS has built no module, and where DKMS is told to
sign with a key of somebody else's (mok_signing_key in /etc/dkms/framework.conf).
"""

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(os.environ.get("CUBE_ROOT", "/"))
SETTINGS = ROOT / "etc/cube/secure-boot.json"
HELP = "/etc/cube/secure-boot.txt"
PASSWORD = ROOT / "var/lib/cube/mok-password"
GREETING = ROOT / "run/motd.d/60-cube-secure-boot"
#: Digits are on the same keys of most keyboards; MokManager knows the American one only.
PASSWORD_DIGITS = 8

#: Where DKMS installs modules on Debian and Ubuntu, and the copies that it installed them from.
#: Source: dkms 3.0.11 and 3.2.2, override_dest_module_location and do_install.
MODULES = ROOT / "lib/modules"
INSTALLED = "*/updates/dkms/**/*.ko*"
COPIES = ROOT / "var/lib/dkms"
#: Ends a signed module; before it stand 12 bytes, the last four of which are the signature's
#: length. Source: Linux, include/linux/module_signature.h.
MARK, TRAILER = b"~Module signature appended~\n", 12
#: How modules are packed: quickly, as NVIDIA's are large, in a form that the kernel can read.
#: Source: Linux, Documentation/staging/xz.rst: no integrity check but CRC32.
PACKERS: dict[str, tuple[str, ...]] = {
    ".ko": (),
    ".xz": ("xz", "--check=crc32", "-0"),
    ".gz": ("gzip", "-1"),
    ".zst": ("zstd", "--quiet"),
}

#: Only shim sets it. Source: shim, README.tpm and mok.c.
SHIMS_OWN = ROOT / "sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"
ESP = ROOT / "boot/efi/EFI"
#: Names of shim on the EFI system partition. Source: UEFI specification, 3.5.1.1.
SHIMS = ("bootx64.efi", "shimx64.efi")

Enrolment = Literal["enrolled", "asked for", "missing"]


class Problem(Exception):
    """What keeps the key from being used, in one line, with what to do."""


@dataclass(frozen=True)
class Settings:
    """DKMS' own key on this system, and the command that makes it."""

    key: Path
    certificate: Path
    generate: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether both halves are there."""
        return self.key.is_file() and self.certificate.is_file()


def main() -> int:
    """Do what is due, or print how things stand."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--status", action="store_true", help="change nothing; print one line")
    options = parser.parse_args()
    try:
        if options.status:
            done, line = status()
            print(line)
            return 0 if done else 1
        mend()
    except (Problem, OSError, subprocess.CalledProcessError) as problem:
        print(f"cube-secure-boot: {problem}", file=sys.stderr)
        return 1
    return 0


def status() -> tuple[bool, str]:
    """Return whether nothing is left to do, and one line that says why."""
    reason = not_concerned()
    if reason:
        return True, reason
    settings = read_settings()
    if not settings.complete:
        return False, "this machine has no key for its modules yet: sudo cube-secure-boot makes it"
    strange = unsigned(settings)
    if strange:
        return False, f"not signed by this machine: {strange[0].name}: run sudo cube-secure-boot"
    match enrolment(settings.certificate):
        case "enrolled":
            return True, "the key of this machine is enrolled"
        case "asked for":
            return False, f"the key of this machine waits for a person at the console: see {HELP}"
    return False, "the key of this machine is not enrolled: sudo cube-secure-boot asks for it"


def mend() -> None:
    """Make a key, sign what it has not signed, and ask for its enrolment."""
    if not_concerned():
        return
    settings = read_settings()
    if not settings.complete:
        make_key(settings)
    for module in unsigned(settings):
        sign(module, settings)
        print(f"signed {module}")
    if enrolment(settings.certificate) == "enrolled":
        PASSWORD.unlink(missing_ok=True)
        GREETING.unlink(missing_ok=True)
        return
    if enrolment(settings.certificate) == "missing":
        ask(settings.certificate)
        print("asked for the enrolment of the key that signs the modules")
    greet()


def not_concerned() -> str:
    """Return why this machine needs no key; empty when it does."""
    if execute("mokutil", "--sb-state", accept=range(256)) != "SecureBoot enabled":
        return "Secure Boot is off"
    if not modules():
        return "no module was built by DKMS"
    for file in [ROOT / "etc/dkms/framework.conf", *ROOT.glob("etc/dkms/framework.conf.d/*.conf")]:
        if file.is_file() and re.search(r"(?m)^\s*(export\s+)?mok_signing_key=", file.read_text()):
            return f"DKMS signs with a key of its owner's: {file} names it"
    return ""


def read_settings() -> Settings:
    """Read where DKMS keeps its key."""
    try:
        data = json.loads(SETTINGS.read_text())
        key, certificate = (ROOT / data[name].lstrip("/") for name in ("key", "certificate"))
        return Settings(key, certificate, tuple(data["generate"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Problem(f"{SETTINGS} cannot be read ({error}): apply layer 2 again") from error


def execute(*argv: str | Path, stdin: str = "", accept: range = range(1)) -> str:
    """Return what a program prints, without the last end of line."""
    own = {"LC_ALL": "C.UTF-8", "SHIM_NOTRIGGER": "y", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, check=False, env={**os.environ, **own}
    )
    if done.returncode not in accept:
        said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise Problem(f"{' '.join(map(str, argv))}: exit code {done.returncode}: {said}")
    return done.stdout.strip()


def modules() -> list[Path]:
    """Return the modules that DKMS has installed, for every kernel."""
    return sorted(path for path in MODULES.glob(INSTALLED) if path.suffix in PACKERS)


def make_key(settings: Settings) -> None:
    """Make a key in DKMS' own way.

    An image keeps the certificate of the key that it was built with, and Ubuntu's program makes no
    key beside a certificate. Source: update-secureboot-policy of shim-signed 1.58, create_mok.
    """
    settings.certificate.unlink(missing_ok=True)
    execute(*settings.generate)
    if not settings.complete:
        raise Problem(f"{' '.join(settings.generate)} made no key at {settings.key}")
    print(f"made the key {settings.key}")


def unsigned(settings: Settings) -> list[Path]:
    """Return the modules whose last signature is not of this machine's key."""
    argv = ("openssl", "x509", "-inform", "DER", "-noout", "-serial", "-in", settings.certificate)
    own = serial(execute(*argv).removeprefix("serial="))
    return [
        module
        for module in modules()
        if serial(execute("modinfo", "--field", "sig_key", module)) != own
    ]


def serial(text: str) -> str:
    """Return a serial number as modinfo and openssl both can write it."""
    return text.replace(":", "").upper().lstrip("0")


def sign(module: Path, settings: Settings) -> None:
    """Put this machine's signature in the place of another, also in the copy that DKMS keeps."""
    kernel = module.relative_to(MODULES).parts[0]
    packer = PACKERS[module.suffix]
    with tempfile.TemporaryDirectory(prefix="cube-secure-boot-") as folder:
        plain = Path(folder) / module.name.removesuffix(module.suffix if packer else "")
        plain.write_bytes(strip(unpack(module, packer)))
        execute(signer(kernel), digest(kernel), settings.key, settings.certificate, plain)
        ready = Path(folder) / module.name
        if packer:
            execute(*packer, "--force", plain)
        copies = COPIES.glob(f"*/kernel-{kernel}-*/module/{module.name}")
        for target in {path.resolve() for path in (module, *copies)}:
            replace(target, ready)
    os.sync()


def unpack(module: Path, packer: tuple[str, ...]) -> bytes:
    """Return a module as it was before it was packed."""
    if not packer:
        return module.read_bytes()
    argv = (packer[0], "--decompress", "--stdout", str(module))
    return subprocess.run(argv, capture_output=True, check=True).stdout


def strip(data: bytes) -> bytes:
    """Return a module without its signatures."""
    while data.endswith(MARK):
        end = len(data) - len(MARK)
        length = int.from_bytes(data[end - 4 : end], "big")
        data = data[: end - TRAILER - length]
    return data


def signer(kernel: str) -> Path:
    """Return the program that signs modules: the kernel's own, or Ubuntu's."""
    own = MODULES / kernel / "build/scripts/sign-file"
    if own.is_file():
        return own
    other = shutil.which("kmodsign")
    if other is None:
        raise Problem(f"no sign-file for kernel {kernel}: install linux-headers-{kernel}")
    return Path(other)


def digest(kernel: str) -> str:
    """Return the kernel's own digest for signatures."""
    config = ROOT / f"boot/config-{kernel}"
    found = re.search(r'(?m)^CONFIG_MODULE_SIG_HASH="(\w+)"', config.read_text())
    if found is None:
        raise Problem(f"{config}: CONFIG_MODULE_SIG_HASH is not set")
    return found[1]


def replace(target: Path, ready: Path) -> None:
    """Put a file in another's place whole, with the other's permissions."""
    new = target.with_name(f".{target.name}.new")
    shutil.copyfile(ready, new)
    shutil.copymode(target, new)
    new.replace(target)


def enrolment(certificate: Path) -> Enrolment:
    """Return what shim knows of a certificate. Source: mokutil 0.6 and 0.7, --test-key."""
    said = execute("mokutil", "--test-key", certificate, accept=range(2))
    if said.endswith("is already in the enrollment request"):
        return "asked for"
    if said.endswith("is not enrolled"):
        return "missing"
    if "already" in said and "MokX" not in said and "MokListX" not in said:
        return "enrolled"
    raise Problem(f"mokutil --test-key {certificate}: {said or 'no answer'}")


def ask(certificate: Path) -> None:
    """Ask shim to enroll a certificate at the next start; the password goes to a file of root's."""
    require_mok_manager()
    hashed = execute("openssl", "passwd", "-6", "-stdin", stdin=password() + "\n")
    with tempfile.NamedTemporaryFile("w", prefix="cube-secure-boot-") as file:
        file.write(hashed)
        file.flush()
        execute("mokutil", "--import", certificate, "--hash-file", Path(file.name))


def password() -> str:
    """Return the password of the request; a person may have written it down at an earlier boot."""
    if not PASSWORD.exists():
        PASSWORD.parent.mkdir(parents=True, exist_ok=True)
        new = PASSWORD.with_name(f".{PASSWORD.name}.new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_text("".join(secrets.choice("0123456789") for _ in range(PASSWORD_DIGITS)) + "\n")
        new.replace(PASSWORD)
    return PASSWORD.read_text().strip()


def require_mok_manager() -> None:
    """Refuse a request that would keep the machine from starting.

    Shim that finds a request and no MokManager beside it stops. Source: shim, import_mok_state.
    """
    if not SHIMS_OWN.exists():
        raise Problem("this machine was not started by shim: enroll the key in the firmware")
    folders = {path.parent for path in ESP.glob("*/*") if path.name.lower() in SHIMS}
    lacking = [str(one) for one in sorted(folders) if "mmx64.efi" not in names(one)]
    if lacking or not folders:
        where = ", ".join(lacking) or str(ESP)
        raise Problem(f"no MokManager beside shim in {where}: sudo cube-boot-loader --force")


def names(folder: Path) -> set[str]:
    """Return the names in a folder of a file system that knows no capitals."""
    return {path.name.lower() for path in folder.iterdir()}


def greet() -> None:
    """Tell whoever logs in. Source: pam_motd(8), /run/motd.d."""
    GREETING.parent.mkdir(parents=True, exist_ok=True)
    GREETING.write_text(
        "\n  Secure Boot keeps the GPU driver out until its key is enrolled: restart, and confirm\n"
        f"  it at this machine's console. {HELP} has the steps.\n\n"
    )


if __name__ == "__main__":
    sys.exit(main())
