"""The libvirt domain of a machine: pure XML."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from cube.machines.qemu.accelerator import Accelerator
from cube.machines.qemu.firmware import Uefi

#: Source: libvirt, "QEMU command-line passthrough".
NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
#: Host memory for translated code. The default of QEMU grows with the guest's memory and is
#: translated again and again by a booting kernel when it is small.
TRANSLATION_CACHE_MIB = 512


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk of a virtual machine, and its format."""

    file: Path
    format: str


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What a domain is made of.

    Args:
        name: unique on its hypervisor.
        accelerator: what runs it.
        emulator: QEMU's path.
        cpus: virtual processors.
        memory_mib: memory, in MiB.
        disks: the first one is booted.
        seed: ISO image for cloud-init.
        console: file for the serial console.
        ssh_port: port of loopback that leads to the guest's port 22.
        uefi: firmware; None boots with BIOS.
    """

    name: str
    accelerator: Accelerator
    emulator: Path
    cpus: int
    memory_mib: int
    disks: tuple[Disk, ...]
    seed: Path
    console: Path
    ssh_port: int
    uefi: Uefi | None


def render_domain(domain: Domain) -> str:
    """Build the domain's XML. Source: libvirt, "Domain XML format"."""
    ET.register_namespace("qemu", NAMESPACE)
    kind = "qemu" if domain.accelerator == "tcg" else domain.accelerator
    root = ET.Element("domain", type=kind)
    _text(root, "name", domain.name)
    _text(root, "memory", str(domain.memory_mib), unit="MiB")
    _text(root, "vcpu", str(domain.cpus))
    root.append(_firmware(domain))
    root.append(_features(domain))
    root.append(_processor(domain))
    _text(root, "on_poweroff", "destroy")
    _text(root, "on_reboot", "restart")
    _text(root, "on_crash", "destroy")
    root.append(_devices(domain))
    root.append(_network(domain))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text


def _firmware(domain: Domain) -> ET.Element:
    element = ET.Element("os")
    _text(element, "type", "hvm", arch="x86_64", machine="q35")
    if domain.uefi is None:
        ET.SubElement(element, "bios", useserial="yes")
    else:
        secure = {"secure": "yes"} if domain.uefi.secure_boot else {}
        _text(element, "loader", str(domain.uefi.code), readonly="yes", type="pflash", **secure)
        _text(element, "nvram", str(domain.uefi.variables))
    return element


def _features(domain: Domain) -> ET.Element:
    element = ET.Element("features")
    ET.SubElement(element, "acpi")
    ET.SubElement(element, "apic")
    if domain.uefi is not None and domain.uefi.secure_boot:
        # Without it the firmware of Secure Boot hangs before it prints anything.
        ET.SubElement(element, "smm", state="on")
    if domain.accelerator == "tcg":
        cache = ET.SubElement(element, "tcg")
        _text(cache, "tb-cache", str(TRANSLATION_CACHE_MIB), unit="MiB")
    return element


def _processor(domain: Domain) -> ET.Element:
    """The host's processor; under tcg all that QEMU knows, without cmpxchg16b.

    A guest with two processors under QEMU 7.2's tcg panicked in that instruction.
    """
    if domain.accelerator != "tcg":
        return ET.Element("cpu", mode="host-passthrough")
    element = ET.Element("cpu", mode="maximum")
    ET.SubElement(element, "feature", policy="disable", name="cx16")
    return element


def _devices(domain: Domain) -> ET.Element:
    devices = ET.Element("devices")
    _text(devices, "emulator", str(domain.emulator))
    for index, disk in enumerate(domain.disks):
        devices.append(_disk(disk, "vd" + "abcdefghijklmnop"[index]))
    devices.append(_cdrom(domain.seed))
    serial = ET.SubElement(devices, "serial", type="file")
    ET.SubElement(serial, "source", path=str(domain.console))
    random = ET.SubElement(devices, "rng", model="virtio")
    _text(random, "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "panic", model="isa")
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "memballoon", model="none")
    ET.SubElement(ET.SubElement(devices, "video"), "model", type="none")
    return devices


def _disk(disk: Disk, name: str) -> ET.Element:
    """A virtio disk that gives freed blocks back.

    Flushes are ignored (``unsafe``): a machine whose host loses power is built again.
    """
    element = ET.Element("disk", type="file", device="disk")
    ET.SubElement(
        element,
        "driver",
        name="qemu",
        type=disk.format,
        cache="unsafe",
        discard="unmap",
        detect_zeroes="unmap",
    )
    ET.SubElement(element, "source", file=str(disk.file))
    ET.SubElement(element, "target", dev=name, bus="virtio")
    return element


def _cdrom(file: Path) -> ET.Element:
    element = ET.Element("disk", type="file", device="cdrom")
    ET.SubElement(element, "driver", name="qemu", type="raw")
    ET.SubElement(element, "source", file=str(file))
    ET.SubElement(element, "target", dev="sda", bus="sata")
    ET.SubElement(element, "readonly")
    return element


def _network(domain: Domain) -> ET.Element:
    """User-mode networking with sshd on loopback.

    By QEMU's own options: libvirt forwards ports only through passt, which is not everywhere.
    The address is one that libvirt's own devices do not reach; without its ROM the NIC offers no
    network boot, which would cost seconds at every start.
    """
    element = ET.Element(f"{{{NAMESPACE}}}commandline")
    forward = f"hostfwd=tcp:127.0.0.1:{domain.ssh_port}-:22"
    device = "virtio-net-pci,netdev=net0,bus=pcie.0,addr=0x10,romfile="
    for word in ("-netdev", f"user,id=net0,{forward}", "-device", device):
        ET.SubElement(element, f"{{{NAMESPACE}}}arg", value=word)
    return element
