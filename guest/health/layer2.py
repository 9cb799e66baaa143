"""Layer 2: the NVIDIA driver and the CUDA toolkit."""

import os
import platform

from guest.checking.pci import nvidia_gpus
from guest.checking.program import NOT_INSTALLED, ask, environment
from guest.checking.report import Report
from guest.checking.state import ROOT, read_text
from guest.gpus.findings import find
from guest.gpus.inventory import read_inventory
from guest.gpus.machine import find_machine, read_bus
from guest.gpus.nvidia_smi import SmiError
from guest.health.box import check_unit, in_container

#: Debian names the module after its flavour.
MODULES = ("nvidia", "nvidia-current", "nvidia-current-open")
CUDA_BIN = "/usr/local/cuda/bin"
HELP = "/etc/cube/secure-boot.txt"


def check_nvidia_driver(report: Report) -> None:
    """Check the driver's module, Secure Boot, and that the driver answers where there is a GPU."""
    check_nouveau(report)
    check_running(report, check_module(report))
    check_secure_boot(report)
    if gpu_present():
        check_answer(report)
        check_unit(report, "persistence daemon", "nvidia-persistenced.service")
    else:
        report.skip("driver answers", "no NVIDIA GPU on the PCI bus")
        report.skip("persistence daemon", "no NVIDIA GPU on the PCI bus")


def check_answer(report: Report) -> None:
    """Check that the driver answers and warns of no GPU; validate-gpus.sh looks at all the rest."""
    name, machine = "driver answers", find_machine()
    try:
        inventory = read_inventory(machine, read_bus(machine))
    except SmiError as error:
        report.fail(name, str(error.found))
        return
    found = [str(inventory.found)] if inventory.found else []
    for gpu in inventory.gpus:
        fault = gpu.found or (find("lost") if gpu.lost else None)
        found += [f"{gpu.address} {gpu.model}: {fault}"] if fault else []
    good = f"driver {inventory.driver}, {len(inventory.gpus)} GPUs"
    report.check_that(name, not found, good, "; ".join(found))


def check_nouveau(report: Report) -> None:
    """Check that the module nouveau is not loaded."""
    loaded = [line.split()[0] for line in read_text(ROOT / "proc/modules").splitlines()]
    told = "the module is loaded: it keeps the NVIDIA driver out"
    report.check_that("nouveau absent", "nouveau" not in loaded, "not loaded", told)


def check_module(report: Report) -> str:
    """Check that this kernel has the driver's module; return its version, or ""."""
    name, kernel = "driver module for this kernel", platform.release()
    if in_container():
        report.skip(name, "a container has its host's kernel")
        return ""
    for module in MODULES:
        answer = ask("modinfo", "--field", "version", module)
        if answer.code == 0:
            report.ok(name, f"{module} {answer.first} for {kernel}")
            return answer.first
    report.fail(name, f"none for {kernel}: see dkms status, and make.log in /var/lib/dkms")
    return ""


def check_running(report: Report, installed: str) -> None:
    """Check that the loaded driver is the installed one.

    A driver that is replaced while it runs fails with "Driver/library version mismatch".
    """
    name, running = "running driver is the installed one", driver_version()
    if not installed or not running:
        report.skip(name, "no driver is loaded")
        return
    told = f"{running} runs, {installed} is installed: restart"
    report.check_that(name, running == installed, running, told)


def driver_version() -> str:
    """Return the version of the driver that is loaded, or ""."""
    return read_text(ROOT / "sys/module/nvidia/version")


def check_secure_boot(report: Report) -> None:
    """Check that Secure Boot does not keep the driver out.

    Source: mokutil(1), --sb-state: it fails where there are no EFI variables, and its second
    line says that shim was told not to validate.
    """
    name = "Secure Boot lets the driver in"
    if ask("mokutil", "--sb-state").lines != ["SecureBoot enabled"]:
        report.ok(name, "Secure Boot is off")
    elif (ROOT / "sys/module/nvidia").is_dir():
        report.ok(name, "Secure Boot is on, the driver is loaded")
    elif gpu_present():
        report.fail(name, f"the driver is not loaded: {key_state()}")
    else:
        report.skip(name, f"Secure Boot is on, and no GPU asks for the driver: {key_state()}")


def key_state() -> str:
    """Return the state of the key that signs the modules; Canonical's need none of ours."""
    answer = ask("cube-secure-boot", "--status")
    if answer.code in {0, 1}:
        return answer.first
    if answer.code == NOT_INSTALLED:
        return f"the modules are signed by the distribution: see {HELP}"
    return f"{answer.explain()}; see {HELP}"


def gpu_present() -> bool:
    """Tell whether an NVIDIA display controller is on the PCI bus."""
    return bool(nvidia_gpus(ROOT))


def check_cuda(report: Report) -> None:
    """Check the CUDA compiler."""
    variables = environment()
    variables["PATH"] = os.pathsep.join([variables["PATH"], CUDA_BIN])
    answer = ask("nvcc", "--version", env=variables)
    release = next((line for line in answer.lines if "release" in line), "")
    report.check_that("CUDA compiler", answer.code == 0, release, answer.explain())


ROLES = {"nvidia_driver": check_nvidia_driver, "cuda": check_cuda}
