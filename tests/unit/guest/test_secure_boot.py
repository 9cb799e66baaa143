"""cube-secure-boot: the key of a machine's own, over fakes of DKMS, mokutil, openssl and kmod."""

import json
import lzma
import stat
from pathlib import Path

import pytest

from cube.runtime.run import Completed
from deploy.roles.nvidia_driver import SIGNING_KEYS

from .conftest import Box

KERNEL = "6.12.118+deb13-amd64"
MODULE = f"lib/modules/{KERNEL}/updates/dkms/nvidia.ko"
CODE = b"\x7fELF the module's own code"
MARK = b"~Module signature appended~\n"
EFIVARS = "sys/firmware/efi/efivars"

#: Keeps what it is asked in files beside it; a certificate here is nothing but a serial number.
MOKUTIL = """\
state=${0%/*}
case $1 in
  --sb-state) cat "$state/sb-state" ;;
  --test-key)
    if [[ $(cat "$state/enrolled" 2>/dev/null) == "$(<"$2")" ]]; then
      echo "$2 is already enrolled"; exit 1
    elif [[ $(cat "$state/requested" 2>/dev/null) == "$(<"$2")" ]]; then
      echo "$2 is already in the enrollment request"; exit 1
    fi
    echo "$2 is not enrolled" ;;
  --import)
    [[ $3 == --hash-file && $(stat -c %a "$4") == 600 ]] || exit 9
    cp "$2" "$state/requested"; cp "$4" "$state/hash"; echo "$2" >>"$state/imports" ;;
esac
"""
OPENSSL = """\
case $1 in
  x509) echo "serial=$(<"${@: -1}")" ;;
  passwd) [[ $* == "passwd -6 -stdin" ]] && read -r word && echo "hash of $word" ;;
esac
"""
#: Writes the certificate's serial as a signature in the kernel's form: length, then the mark.
SIGN_FILE = """\
#!/bin/bash
printf '%s\\n' "$*" >>"${0%/*}/calls"
serial=$(<"$3")
printf '%s' "$serial" >>"$4"
printf '\\0\\0\\2\\0\\0\\0\\0\\0\\0\\0\\0%b' "\\\\x$(printf %02x ${#serial})" >>"$4"
echo '~Module signature appended~' >>"$4"
"""
MODINFO = """\
[[ $1 == --field && $2 == sig_key ]] || exit 9
case $3 in *.xz) unpack="xz -dc" ;; *) unpack=cat ;; esac
$unpack "$3" | tail -c 80 | grep -aq '~Module signature' || exit 0
$unpack "$3" | python3 -c '
import sys; data = sys.stdin.buffer.read()[:-28]
print(":".join(map("".join, zip(*[iter(data[-12 - data[-1]:-12].decode())] * 2))).lower())'
"""
GENERATE = """\
root=$CUBE_ROOT; key=$root{key}; certificate=$root{certificate}
[[ "$*" == "{words}" && ! -e $certificate ]] || exit 7
mkdir -p "${{key%/*}}"
echo private >"$key"; printf 0A1B2C3D >"$certificate"
"""


#: For tests of what differs between operating systems.
each_system = pytest.mark.parametrize("system", sorted(SIGNING_KEYS))


@pytest.fixture
def system() -> str:
    return "debian-13"


@pytest.fixture
def secure(box: Box, system: str) -> Box:
    """A first boot with Secure Boot on: a module of DKMS', and no key but an old certificate."""
    own = SIGNING_KEYS[system]
    settings = {"key": own.key, "certificate": own.certificate, "generate": own.generate}
    box.write_json("etc/cube/secure-boot.json", settings)
    box.write(own.certificate.lstrip("/"), "99")
    box.fake_script("mokutil", MOKUTIL)
    box.fake_script("openssl", OPENSSL)
    box.fake_script("modinfo", MODINFO)
    program, *words = own.generate
    text = GENERATE.format(key=own.key, certificate=own.certificate, words=" ".join(words))
    box.fake_script(program, text)
    (box.bin / "sb-state").write_text("SecureBoot enabled\n")
    sign_file = box.write(f"lib/modules/{KERNEL}/build/scripts/sign-file", SIGN_FILE)
    sign_file.chmod(0o755)
    box.write(f"boot/config-{KERNEL}", 'CONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_HASH="sha512"\n')
    for name in ("BOOT/BOOTX64.EFI", "BOOT/mmx64.efi", "debian/shimx64.efi", "debian/mmx64.efi"):
        box.write(f"boot/efi/EFI/{name}", name)
    box.write(f"{EFIVARS}/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23", "Debian's own")
    install(box, signed(CODE, b"99"))
    return box


def signed(code: bytes, serial: bytes) -> bytes:
    trailer = bytes([0, 0, 2]) + bytes(5) + len(serial).to_bytes(4, "big")
    return code + serial + trailer + MARK


def install(box: Box, data: bytes, suffix: str = "") -> tuple[Path, Path]:
    """Put a module where DKMS installs it, and the copy that it keeps; both mode 644."""
    kept = box.root / f"var/lib/dkms/nvidia/550/{KERNEL}/x86_64/module/nvidia.ko{suffix}"
    installed = box.root / f"{MODULE}{suffix}"
    for path in (kept, installed):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o644)
    link = box.root / f"var/lib/dkms/nvidia/kernel-{KERNEL}-x86_64"
    if not link.is_symlink():
        link.symlink_to(f"550/{KERNEL}/x86_64")
    return installed, kept


def boot(box: Box) -> Completed:
    return box.run("cube-secure-boot")


def status(box: Box) -> tuple[int, str]:
    done = box.run("cube-secure-boot", "--status")
    return done.returncode, done.stdout.strip()


def asked(box: Box) -> int:
    """Return how many requests were made."""
    file = box.bin / "imports"
    return len(file.read_text().splitlines()) if file.exists() else 0


def password_file(box: Box) -> Path:
    return box.root / "var/lib/cube/mok-password"


def greeting(box: Box) -> Path:
    return box.root / "run/motd.d/60-cube-secure-boot"


def enroll(box: Box) -> None:
    """Do what a person does at the console, and MokManager then."""
    (box.bin / "requested").rename(box.bin / "enrolled")


@each_system
def test_first_boot_makes_a_key_signs_and_asks(secure: Box, system: str) -> None:
    done = boot(secure)
    assert (done.returncode, done.stderr) == (0, "")
    own = SIGNING_KEYS[system]
    assert (secure.root / own.key.lstrip("/")).read_text() == "private\n"
    assert (secure.root / MODULE).read_bytes() == signed(CODE, b"0A1B2C3D")
    call = (secure.root / f"lib/modules/{KERNEL}/build/scripts/calls").read_text().split()
    assert call[:3] == ["sha512", f"{secure.root}{own.key}", f"{secure.root}{own.certificate}"]
    assert asked(secure) == 1


def test_password_is_for_root_only_and_its_hash_goes_to_shim(secure: Box) -> None:
    boot(secure)
    password = password_file(secure).read_text().strip()
    assert password.isdigit()
    assert len(password) == 8
    assert stat.S_IMODE(password_file(secure).stat().st_mode) == 0o600
    assert (secure.bin / "hash").read_text().strip() == f"hash of {password}"


def test_password_is_told_to_nobody(secure: Box) -> None:
    done = boot(secure)
    password = password_file(secure).read_text().strip()
    assert password not in done.stdout + done.stderr + greeting(secure).read_text()


def test_login_says_where_the_steps_are(secure: Box) -> None:
    boot(secure)
    assert "/etc/cube/secure-boot.txt" in greeting(secure).read_text()


def test_the_copy_that_dkms_keeps_is_the_installed_one(secure: Box) -> None:
    installed, kept = install(secure, signed(signed(CODE, b"98"), b"99"))
    boot(secure)
    assert kept.read_bytes() == installed.read_bytes() == signed(CODE, b"0A1B2C3D")
    assert stat.S_IMODE(installed.stat().st_mode) == 0o644
    assert sorted(path.name for path in installed.parent.iterdir()) == ["nvidia.ko"]


def test_packed_modules_stay_packed(secure: Box) -> None:
    (secure.root / MODULE).unlink()
    installed, kept = install(secure, lzma.compress(signed(CODE, b"99")), ".xz")
    assert boot(secure).returncode == 0
    assert lzma.decompress(installed.read_bytes()) == signed(CODE, b"0A1B2C3D")
    assert kept.read_bytes() == installed.read_bytes()


def test_a_second_run_changes_nothing(secure: Box) -> None:
    boot(secure)
    before = {path: path.read_bytes() for path in secure.root.rglob("*") if path.is_file()}
    again = boot(secure)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert {path: path.read_bytes() for path in secure.root.rglob("*") if path.is_file()} == before
    assert asked(secure) == 1


def test_a_request_that_nobody_confirmed_is_made_again_with_the_same_password(secure: Box) -> None:
    boot(secure)
    password = password_file(secure).read_text()
    (secure.bin / "requested").unlink()
    assert boot(secure).returncode == 0
    assert asked(secure) == 2
    assert password_file(secure).read_text() == password


def test_enrolled_key_ends_it_in_silence(secure: Box) -> None:
    boot(secure)
    enroll(secure)
    done = boot(secure)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not password_file(secure).exists()
    assert not greeting(secure).exists()
    assert status(secure) == (0, "the key of this machine is enrolled")


def test_module_that_another_key_signed_later_is_signed_again(secure: Box) -> None:
    boot(secure)
    enroll(secure)
    installed, _ = install(secure, signed(CODE, b"77"))
    assert status(secure)[0] == 1
    boot(secure)
    assert installed.read_bytes() == signed(CODE, b"0A1B2C3D")
    assert asked(secure) == 1


@pytest.mark.parametrize(
    "said",
    ["SecureBoot disabled", "EFI variables are not supported on this system",
     "SecureBoot enabled\nSecureBoot validation is disabled in shim"],
)  # fmt: skip
def test_without_secure_boot_nothing_is_done(secure: Box, said: str) -> None:
    (secure.bin / "sb-state").write_text(f"{said}\n")
    expect_nothing(secure)
    assert status(secure) == (0, "Secure Boot is off")


def test_without_a_module_of_dkms_nothing_is_done(secure: Box) -> None:
    (secure.root / MODULE).unlink()
    expect_nothing(secure)
    assert status(secure) == (0, "no module was built by DKMS")


@pytest.mark.parametrize("file", ["framework.conf", "framework.conf.d/own.conf"])
def test_a_key_of_the_owners_is_left_to_the_owner(secure: Box, file: str) -> None:
    secure.write(f"etc/dkms/{file}", "mok_signing_key=/root/mine.key\n")
    expect_nothing(secure)
    assert status(secure)[0] == 0


def test_commented_settings_of_dkms_are_none(secure: Box) -> None:
    secure.write("etc/dkms/framework.conf", "# mok_signing_key=/var/lib/dkms/mok.key\n")
    assert boot(secure).returncode == 0
    assert asked(secure) == 1


def expect_nothing(box: Box) -> None:
    done = boot(box)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert asked(box) == 0
    assert not password_file(box).exists()
    assert not greeting(box).exists()


def broken(box: Box) -> str:
    """Return the only line that a run leaves which cannot do its work."""
    done = boot(box)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("cube-secure-boot: ")
    assert asked(box) == 0
    return line


@pytest.mark.parametrize("missing", ["BOOT/mmx64.efi", "debian/mmx64.efi"])
def test_no_request_is_made_that_shim_would_stop_at(secure: Box, missing: str) -> None:
    (secure.root / "boot/efi/EFI" / missing).unlink()
    assert f"no MokManager beside shim in {secure.root}/boot/efi/EFI/" in broken(secure)


def test_no_request_is_made_without_an_efi_partition(secure: Box) -> None:
    (secure.root / "boot/efi/EFI").rename(secure.root / "gone")
    assert "no MokManager beside shim" in broken(secure)


def test_no_request_is_made_to_a_shim_that_was_not_there(secure: Box) -> None:
    (secure.root / EFIVARS).rename(secure.root / "gone")
    assert "was not started by shim" in broken(secure)


def test_headers_that_are_missing_are_named(secure: Box) -> None:
    (secure.root / f"lib/modules/{KERNEL}/build/scripts/sign-file").unlink()
    assert f"install linux-headers-{KERNEL}" in broken(secure)


def test_ubuntus_own_program_signs_where_the_kernel_has_none(secure: Box) -> None:
    own = secure.root / f"lib/modules/{KERNEL}/build/scripts/sign-file"
    own.rename(secure.bin / "kmodsign")
    assert boot(secure).returncode == 0
    assert (secure.root / MODULE).read_bytes() == signed(CODE, b"0A1B2C3D")


@each_system
def test_a_key_that_is_not_made_is_told(secure: Box, system: str) -> None:
    program = SIGNING_KEYS[system].generate[0]
    secure.fake(program, "openssl not found, can't generate key and certificate.")
    assert "made no key at" in broken(secure)


@pytest.mark.parametrize("text", ["{", "[]", '{"key": "/k"}', None])
def test_settings_that_cannot_be_read_are_told(secure: Box, text: str | None) -> None:
    if text is None:
        (secure.root / "etc/cube/secure-boot.json").unlink()
    else:
        secure.write("etc/cube/secure-boot.json", text)
    assert "apply layer 2 again" in broken(secure)


def test_an_answer_that_nobody_knows_is_told(secure: Box) -> None:
    secure.fake_script("mokutil", 'case $1 in --sb-state) echo "SecureBoot enabled";; esac')
    assert "no answer" in broken(secure)


def test_status_changes_nothing_and_names_the_next_step(secure: Box) -> None:
    assert status(secure) == (
        1,
        "this machine has no key for its modules yet: sudo cube-secure-boot makes it",
    )
    boot(secure)
    code, line = status(secure)
    assert code == 1
    assert line.endswith("waits for a person at the console: see /etc/cube/secure-boot.txt")
    (secure.bin / "requested").unlink()
    assert status(secure) == (
        1,
        "the key of this machine is not enrolled: sudo cube-secure-boot asks for it",
    )
    assert asked(secure) == 1


@each_system
def test_settings_are_what_the_role_writes(system: str) -> None:
    # As JSON: a tuple comes back as a list.
    data = json.loads(json.dumps(SIGNING_KEYS[system].__dict__))
    assert set(data) == {"key", "certificate", "generate"}
