"""Secure Boot for real: what our image starts with, what is refused, and a module's own key."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cube.disks import mount, qcow2
from cube.machines import Firmware, MachineRequest, boot, console, ssh
from cube.machines.nspawn.container import Containers
from cube.machines.qemu import firmware, hypervisor
from cube.machines.qemu.vm import VirtualMachine, VirtualMachines
from cube.runtime import run
from cube.runtime.errors import MachineError
from cube.seal import secure_boot
from deploy.roles.nvidia_driver import ENROLMENT, SECURE_BOOT, SIGNING_KEYS
from deploy.runner.sources import file_text

#: Seconds until a kernel is refused, or begins, or a screen shows; 25 s were measured on two busy
#: cores without KVM.
FIRST_WORDS_S = 180

Ask = Callable[..., MachineRequest]


@pytest.fixture(scope="module", autouse=True)
def firmware_is_here() -> None:
    if not firmware.has_secure_boot():
        pytest.skip(secure_boot.NO_FIRMWARE)


@pytest.fixture
def ask(base_disk: Path, tmp_path: Path, key_file: Path) -> Ask:
    """Return what makes a request for a machine on an overlay over the bare image."""
    overlay = tmp_path / "disk.qcow2"
    qcow2.create_overlay(overlay, base_disk)

    def make(wanted: Firmware) -> MachineRequest:
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        return MachineRequest(
            name="secure-boot-test",
            disk=overlay,
            run_dir=folder,
            key_file=key_file,
            firmware=wanted,
            memory_mib=1024,
            wait=False,
        )

    return make


def console_of(request: MachineRequest) -> str:
    file = console.file_of(request.run_dir)
    return file.read_text(errors="replace") if file.exists() else ""


def wait_for_words(request: MachineRequest, words: str, *, after: int = 0, within_s: float) -> int:
    """Wait until a console has printed something; return where that ends."""
    deadline = time.monotonic() + within_s
    while (found := console_of(request).find(words, after)) < 0:
        assert time.monotonic() < deadline, f"no {words!r}: {console_of(request)[after:][-3000:]!r}"
        time.sleep(0.3)
    return found + len(words)


@pytest.mark.timeout(600)
def test_kernel_that_was_altered_is_refused(ask: Ask, tmp_path: Path) -> None:
    request = ask("secure-boot")
    with mount.mounted(request.disk, tmp_path / "edit", writable=True) as root:
        for kernel in (root / "boot").glob("vmlinuz-*"):
            content = bytearray(kernel.read_bytes())
            content[len(content) // 2] ^= 0xFF
            kernel.write_bytes(content)
    started = time.monotonic()
    with (
        pytest.raises(MachineError, match="the guest does not boot: bad shim signature"),
        VirtualMachines().start(replace(request, wait=True)),
    ):
        pass
    assert time.monotonic() - started < FIRST_WORDS_S
    assert "Linux version" not in console_of(request)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("wanted", "state"), [("secure-boot", "Secure boot enabled"), ("uefi", "Secure boot disabled")]
)
def test_kernel_that_is_whole_is_started(ask: Ask, wanted: Firmware, state: str) -> None:
    request = ask(wanted)
    with VirtualMachines().start(request):
        wait_for_words(request, state, within_s=FIRST_WORDS_S)


#: A module that does nothing, for DKMS; and what a build of an image does with it.
MODULE = {
    "cube_test.c": '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n'
    'MODULE_DESCRIPTION("Nothing, for a test");\n',
    "Makefile": "obj-m := cube_test.o\n",
    "dkms.conf": """\
PACKAGE_NAME="cube-test"
PACKAGE_VERSION="1.0"
BUILT_MODULE_NAME="cube_test"
DEST_MODULE_LOCATION="/updates/dkms"
AUTOINSTALL="yes"
MAKE="make -C $kernel_source_dir M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build modules"
CLEAN="true"
""",
}
BUILD = f"""
set -e
kernel=$(basename /lib/modules/*)
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \\
    dkms gcc linux-headers-$kernel
dkms install -k $kernel cube-test/1.0
rm {SIGNING_KEYS["debian-13"].key}
systemctl enable {ENROLMENT}
"""
FILES = {
    **{f"/usr/src/cube-test-1.0/{name}": text for name, text in MODULE.items()},
    "/etc/cube/secure-boot.json": json.dumps(asdict(SIGNING_KEYS["debian-13"])),
    "/usr/local/sbin/cube-secure-boot": SECURE_BOOT.text(),
    f"/etc/systemd/system/{ENROLMENT}": file_text(f"nvidia_driver/{ENROLMENT}"),
}

#: What a machine is asked about its key.
LOOK = """
kernel=$(uname -r)
certificate=/var/lib/dkms/mok.pub
echo "certificate=$(openssl x509 -inform DER -in $certificate -noout -serial | cut -d= -f2)"
echo "signer=$(modinfo -F sig_key /lib/modules/$kernel/updates/dkms/cube_test.ko.xz | tr -d :)"
echo "fingerprint=$(openssl x509 -inform DER -in $certificate -noout -fingerprint | cut -d= -f2)"
echo "requested=$(mokutil --list-new | grep -i 'SHA1 Fingerprint' | sed 's/.*: //')"
echo "known=$(mokutil --test-key $certificate)"
echo "dkms=$(dkms status)"
echo "loaded=$(modprobe cube_test 2>&1 && echo yes)"
echo "password=$(cat /var/lib/cube/mok-password 2>/dev/null)"
echo "status=$(cube-secure-boot --status)"
echo "unit=$(systemctl is-active cube-secure-boot.service)"
echo "said=$(journalctl --boot --output cat --unit cube-secure-boot.service | xargs)"
"""


@pytest.fixture
def box(ask: Ask) -> MachineRequest:
    """A disk as layer 2 leaves it: a module that DKMS has signed, and no private key."""
    request = ask("secure-boot")
    with Containers().start(replace(request, wait=True)) as machine:
        for path, text in FILES.items():
            put = f"sudo install -D -m 755 /dev/stdin {path}"
            ssh.execute(machine.endpoint, put, stdin=text)
        ssh.execute(machine.endpoint, "sudo sh -s", stdin=BUILD, timeout_s=900)
        silent = ssh.execute(machine.endpoint, "sudo cube-secure-boot")
        assert (silent.stdout, silent.stderr) == ("", "")
        machine.shutdown()
    return request


def look(machine: VirtualMachine) -> dict[str, str]:
    """Return what a machine says of its key, once its units have settled."""
    boot.settle(machine.endpoint)
    said = ssh.execute(machine.endpoint, "sudo sh -s", stdin=LOOK, timeout_s=300).stdout
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_machine_makes_its_key_and_a_person_enrolls_it(box: MachineRequest) -> None:
    with VirtualMachines().start(box) as machine:
        assert isinstance(machine, VirtualMachine)
        machine.wait_until_up()
        first = look(machine)
        assert first["unit"] == "active", first["said"]
        assert first["signer"] == first["certificate"] != ""
        assert first["requested"].upper() == first["fingerprint"].upper() != ""
        assert "is already in the enrollment request" in first["known"]
        assert "yes" not in first["loaded"]
        assert first["status"].startswith("the key of this machine waits for a person")
        assert first["dkms"].endswith(": installed")
        assert "keeps the GPU driver out" in login(machine)

        machine.reboot()  # nobody is at the console
        again = look(machine)
        assert {**again, "said": ""} == {**first, "said": ""}

        enroll(machine, first["password"])
        machine.wait_until_up()
        last = look(machine)
        assert "is already enrolled" in last["known"]
        assert last["loaded"] == "yes"
        assert last["password"] == ""
        assert last["status"] == "the key of this machine is enrolled"
        assert "keeps the GPU driver out" not in login(machine)


#: The screens of MokManager, and what a person presses on each; then comes the password's.
#: Source: shim 16.1, MokManager.c; the steps are those of secure-boot.txt.
SCREENS = (
    ("Press any key to perform MOK management", ["enter"]),
    ("Enroll MOK", ["down", "enter"]),
    ("View key 0", ["down", "enter"]),
    ("Yes", ["down", "enter"]),
)
#: Source: Linux, include/uapi/linux/input-event-codes.h.
KEYS = {"enter": 28, "down": 108, "0": 11, **{str(digit): digit + 1 for digit in range(1, 10)}}


def enroll(machine: VirtualMachine, password: str) -> None:
    """Restart a machine, and do at its console what a person does."""
    seen = len(console_of(machine.request))
    ssh.execute(machine.endpoint, f"sudo {boot.RESTART}", accept=(0, ssh.BROKEN))
    for words, keys in (*SCREENS, ("Password:", [*password, "enter"]), ("Reboot", ["enter"])):
        seen = wait_for_words(machine.request, words, after=seen, within_s=FIRST_WORDS_S)
        time.sleep(2)  # a screen is drawn, and only then are keys read
        press(machine, keys)


def press(machine: VirtualMachine, keys: list[str]) -> None:
    """Press keys as slowly as emulated firmware reads them."""
    codes = hypervisor.library().VIR_KEYCODE_SET_LINUX
    for key in keys:
        machine.domain.sendKey(codes, 100, [KEYS[key]], 1, 0)
        time.sleep(1)


def login(machine: VirtualMachine) -> str:
    """Return what a person sees who logs in."""
    *options, destination = ssh.ssh_args(machine.endpoint)
    return run.run([*options, "-tt", destination], stdin="exit\n", timeout_s=120).stdout
