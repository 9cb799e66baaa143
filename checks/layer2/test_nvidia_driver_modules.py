"""The kernel modules: built for every kernel, found by modprobe, with nouveau out of the way."""

from collections.abc import Mapping

import pytest
from testinfra.host import Host

from checks.layer2.conftest import Kernels, Module
from cube.stack.profile import Profile
from cube.stack.table import Gpu

#: A module of the driver by its last word: Debian puts the flavour between.
PARTS = ["uvm", "modeset", "drm"]
#: Source: NVIDIA/open-gpu-kernel-modules, MODULE_LICENSE of both flavours.
LICENSES = {"open": "Dual MIT/GPL", "proprietary": "NVIDIA"}
#: How the bus announces a GPU. Source: Linux, scripts/mod/file2alias.c, do_pci_entry.
ALIAS = "pci:v000010DEd0000{device}sv00000000sd00000000bc03sc00i00"
#: Decompresses a module by its name's end.
OPEN = "case %s in *.xz) xzcat %s;; *.zst) zstdcat %s;; *) cat %s;; esac"


def main(modules: list[Module]) -> list[Module]:
    """Keep nvidia itself: it has the firmware's names and is no part of another."""
    return [
        module for module in modules if not module.file.split(".ko")[0].endswith((*PARTS, "mem"))
    ]


def test_every_kernel_has_the_module(kernels: Kernels) -> None:
    assert [kernel for kernel, modules in kernels.items() if not main(modules)] == []


@pytest.mark.parametrize("part", PARTS)
def test_every_kernel_has_the_part(kernels: Kernels, part: str) -> None:
    lacking = [
        kernel
        for kernel, modules in kernels.items()
        if not any(module.file.split(".ko")[0].endswith(f"-{part}") for module in modules)
    ]
    assert lacking == []


def test_every_module_fits_its_kernel(kernels: Kernels) -> None:
    wrong = [
        f"{module.file} is for {module.built_for}"
        for kernel, modules in kernels.items()
        for module in modules
        if module.built_for != kernel
    ]
    assert wrong == []


def test_modules_and_libraries_are_of_one_version(host: Host, kernels: Kernels) -> None:
    library = host.check_output(
        "readlink -f $(ldconfig -p | awk '/libcuda.so.1 / {print $NF; exit}')"
    )
    version = library.partition(".so.")[2]
    assert {module.version for modules in kernels.values() for module in modules} == {version}


def test_modules_are_of_the_flavour_asked_for(kernels: Kernels, stack: Profile) -> None:
    licenses = {module.license for modules in kernels.values() for module in main(modules)}
    assert licenses == {LICENSES[stack.modules]}


def test_module_knows_the_gpu(host: Host, kernels: Kernels, gpu: Gpu) -> None:
    # Its table of names: the ids are given to modprobe by a pattern that fits them all.
    silent = [
        module.file
        for modules in kernels.values()
        for module in main(modules)
        if host.run(f"({OPEN}) | grep -aqF %s", *[module.file] * 4, gpu.title).rc
    ]
    assert silent == []


def test_modprobe_reads_the_module(host: Host, kernels: Kernels) -> None:
    # Debian's nvidia is a command that loads the module of the flavour that was chosen.
    failing = [
        kernel
        for kernel in kernels
        if host.run("modprobe --set-version %s --show-depends nvidia", kernel).rc
    ]
    assert failing == []


def test_the_gpu_is_left_to_the_driver(host: Host, kernels: Kernels, gpu: Gpu) -> None:
    alias = ALIAS.format(device=gpu.pci[0].upper())
    for kernel in kernels:
        found = host.check_output(f"modprobe -S %s -b -R '{alias}'", kernel).split()
        assert "nouveau" not in found
        assert [name for name in found if name.startswith("nvidia")]


@pytest.mark.parametrize("line", ["blacklist nouveau", "options nouveau modeset=0"])
def test_modprobe_is_told(host: Host, line: str) -> None:
    assert line in host.check_output("modprobe --showconfig").splitlines()


def test_every_initramfs_keeps_nouveau_out(host: Host, kernels: Kernels) -> None:
    script = (
        "d=$(mktemp -d) && unmkinitramfs /boot/initrd.img-$0 $d"
        " && grep -rhx 'options nouveau modeset=0' $d --include='*.conf'; r=$?; rm -r $d; exit $r"
    )
    assert [kernel for kernel in kernels if host.run("sh -c %s %s", script, kernel).rc] == []


@pytest.mark.needs("kernel")
def test_nouveau_is_not_loaded(host: Host) -> None:
    assert host.run("grep '^nouveau ' /proc/modules").stdout == ""


@pytest.mark.needs("kernel")
def test_no_module_is_asked_for_in_vain(host: Host) -> None:
    state = host.check_output("systemctl show --property=ActiveState --value systemd-modules-load")
    assert state != "failed"


@pytest.mark.needs("gpu")
def test_running_module_is_the_one_of_the_disk(
    host: Host, kernels: Mapping[str, list[Module]]
) -> None:
    running = host.check_output("cat /sys/module/nvidia/version")
    assert running == main(kernels[host.check_output("uname -r")])[0].version
