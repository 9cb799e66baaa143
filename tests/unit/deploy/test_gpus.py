"""Whether layers 2-4 apply: pyinfra reads a simulated PCI bus, whatever this machine carries."""

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.facts.pci import Gpu, NvidiaGpus, described

PROJECT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Device:
    """A device as sysfs shows it. `config` is the beginning of its configuration space."""

    vendor: str
    device: str
    kind: str
    config: bytes = b""


RTX_5090 = Device("0x10de", "0x2b85", "0x030000", b"\xde\x10\x85\x2b")
SOUND = Device("0x10de", "0x22e8", "0x040300", b"\xde\x10\xe8\x22")
LOST = dataclasses.replace(RTX_5090, config=b"\xff\xff\xff\xff")
H100 = Device("0x10de", "0x2330", "0x030200", b"\xde\x10\x30\x23")
RADEON = Device("0x1002", "0x744c", "0x030000", b"\x02\x10\x4c\x74")
BRIDGE = Device("0x8086", "0x29c0", "0x060000", b"\x86\x80\xc0\x29")
QEMU_VGA = Device("0x1234", "0x1111", "0x030000", b"\x34\x12\x11\x11")

NONE = "no NVIDIA GPU found on the PCI bus (gpu.mode = auto)"
#: What is on the bus, whether layers 2-4 apply there, and why.
BOXES = {
    "none": ([BRIDGE], False, NONE),
    "four": (
        [BRIDGE, *[RTX_5090, SOUND] * 4], True,
        "4 NVIDIA GPUs on the PCI bus (4 x 10de:2b85)",
    ),
    "three": (
        [BRIDGE, *[RTX_5090, SOUND] * 3], True,
        "3 NVIDIA GPUs on the PCI bus (3 x 10de:2b85), 4 expected",
    ),
    "another vendor": ([BRIDGE, *[RADEON] * 4], False, NONE),
    "the sound of a card alone": ([BRIDGE, SOUND], False, NONE),
    "one fell off": (
        [*[RTX_5090] * 3, LOST], True,
        "4 NVIDIA GPUs on the PCI bus (4 x 10de:2b85),"
        " 0000:03:00.0 fell off the bus: restart the machine",
    ),
    "a virtual machine with one passed through": (
        [BRIDGE, QEMU_VGA, H100], True,
        "1 NVIDIA GPU on the PCI bus (1 x 10de:2330), 4 expected",
    ),
    "a virtual machine without": ([BRIDGE, QEMU_VGA], False, NONE),
}  # fmt: skip


def plant(folder: Path, devices: list[Device]) -> Path:
    """Write a tree like /sys."""
    for number, device in enumerate(devices):
        place = folder / f"bus/pci/devices/0000:{number:02x}:00.0"
        place.mkdir(parents=True)
        for name, text in (("vendor", device.vendor), ("device", device.device)):
            (place / name).write_text(f"{text}\n")
        (place / "class").write_text(f"{device.kind}\n")
        (place / "config").write_bytes(device.config)
    return folder


def decide(sysfs: Path, layer: int, mode: str) -> dict[str, object]:
    """Let pyinfra prepare a layer without roles on this machine; return what it decided."""
    events = sysfs / "events.jsonl"
    data = [
        f"sysfs={sysfs}",
        f"gpu_mode={mode}",
        "gpu_count=4",
        "gpu_model=rtx-5090",
        f"layer{layer}_roles=[]",
    ]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pyinfra",
            "--dry",
            "-y",
            "@local",
            f"deploy/layer{layer}.py",
            *(word for item in data for word in ("--data", item)),
        ],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        env={"CUBE_EVENTS": str(events), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    told = [json.loads(line) for line in events.read_text().splitlines()]
    return next(event for event in told if event["event"] in {"plan", "skip"})


@pytest.mark.parametrize("box", BOXES)
def test_the_bus_decides(tmp_path: Path, box: str) -> None:
    devices, applies, reason = BOXES[box]
    decision = decide(plant(tmp_path, devices), 2, "auto")
    assert decision["event"] == ("plan" if applies else "skip")
    assert decision["reason"] == reason


@pytest.mark.parametrize("layer", [2, 3, 4])
def test_assume_needs_no_gpu(tmp_path: Path, layer: int) -> None:
    decision = decide(plant(tmp_path, [BRIDGE]), layer, "assume")
    assert decision["event"] == "plan"
    assert decision["reason"] == (
        'gpu.mode = "assume": built for 4 x rtx-5090; what needs a GPU is deferred'
    )


def test_skip_is_obeyed_whatever_there_is(tmp_path: Path) -> None:
    decision = decide(plant(tmp_path, [RTX_5090] * 4), 4, "skip")
    assert (decision["event"], decision["reason"]) == ("skip", 'gpu.mode = "skip"')


def test_a_machine_without_a_bus_has_no_gpu(tmp_path: Path) -> None:
    assert decide(tmp_path, 2, "auto")["reason"] == NONE


def test_what_cannot_be_read_of_a_device_is_no_fault_of_it(tmp_path: Path) -> None:
    plant(tmp_path, [RTX_5090])
    (tmp_path / "bus/pci/devices/0000:00:00.0/config").unlink()
    command = NvidiaGpus().command(sysfs=str(tmp_path))
    lines = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert NvidiaGpus().process(lines) == [Gpu(address="0000:00:00.0", id="10de:2b85")]


def test_every_kind_of_card_is_named() -> None:
    gpus = [Gpu(address=str(n), id=name) for n, name in enumerate(("10de:2b85", "10de:2684"))]
    assert described(gpus, expected=2) == (
        "2 NVIDIA GPUs on the PCI bus (1 x 10de:2684, 1 x 10de:2b85)"
    )
