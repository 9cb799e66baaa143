"""The driver's operations: which packages, and what does not fit together."""

import subprocess
from pathlib import Path

import pytest

from deploy.facts.apt import Package
from deploy.facts.kernels import Kernel, Kernels, Module
from deploy.facts.nvidia import StartCommand
from deploy.operations.driver import SAY_WHY, followers, problems, require, versions
from deploy.roles import cuda
from deploy.roles.cuda import Cuda
from deploy.roles.nvidia_driver import NvidiaDriver, packages, signed_modules

KERNEL = "6.12.118+deb13-amd64"


def has(**named: str) -> dict[str, Package]:
    return {name.replace("_", "-"): Package(version=version) for name, version in named.items()}


def module(version: str = "580.95.05", built_for: str = KERNEL) -> Module:
    return Module(path="/lib/modules/nvidia.ko.xz", version=version, built_for=built_for)


def kernel(*modules: Module) -> Kernel:
    return Kernel(release=KERNEL, headers=True, modules=modules)


GOOD = has(libcuda1="580.95.05-1", nvidia_smi="580.95.05-1", nvidia_modprobe="610.1.2-1")


def test_one_version_for_every_kernel_is_right() -> None:
    assert problems([kernel(module())], GOOD) == []


@pytest.mark.parametrize(
    ("kernels", "installed", "said"),
    [
        ([kernel()], GOOD, f"kernel {KERNEL} has no NVIDIA module: DKMS did not build it"),
        ([kernel(module("570.86.16"))], GOOD, "is of version 570.86.16"),
        ([kernel(module(built_for="6.1.0-1"))], GOOD, "for kernel 6.1.0-1, expected 580.95.05"),
        ([kernel(module())], {**GOOD, **has(nvidia_smi="570.86.16-1")}, "nvidia-smi 570.86.16"),
        ([kernel(module())], has(bash="5.2"), "are not of one version: there are none"),
        ([], GOOD, "/lib/modules has no kernel"),
    ],
)
def test_what_does_not_fit_is_named(
    kernels: list[Kernel], installed: dict[str, Package], said: str
) -> None:
    found = problems(kernels, installed)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    ("name", "version", "driver"),
    [
        ("libcuda1", "550.163.01-2", "550.163.01"),
        ("libnvidia-compute-580", "580.95.05-0ubuntu0.24.04.1", "580.95.05"),
        ("nvidia-firmware-580-580.95.05", "580.95.05-0ubuntu0.24.04.1", "580.95.05"),
        ("nvidia-driver-cuda", "580.95.05-1", "580.95.05"),
        ("nvidia-open", "590.44-1", "590.44"),
        ("nvidia-driver-pinning-580", "580-1", ""),
        ("nvidia-cuda-toolkit", "12.4.131~12.4.1-2", ""),
        ("nvidia-modprobe", "570.133.07-1", ""),
        ("linux-modules-nvidia-580-open-generic", "6.8.0-31.31", ""),
        ("nvidia-container-toolkit", "1.20.0-1", ""),
        ("libcudnn9-cuda-13", "9.14.0.64-1", ""),
        ("binutils", "2.440.1", ""),
    ],
)
def test_a_part_of_the_driver_is_known_by_name_and_version(
    name: str, version: str, driver: str
) -> None:
    assert versions({name: Package(version=version)}) == ({name: driver} if driver else {})


IMAGES = {
    "linux-image-amd64", "linux-image-6.12.118+deb13-amd64", "linux-image-generic-hwe-24.04",
    "linux-image-virtual", "linux-image-unsigned-6.8.0-31-generic", "linux-image-amd64-dbg",
}  # fmt: skip


def test_headers_follow_new_kernels() -> None:
    assert followers("", IMAGES) == [
        "linux-headers-amd64",
        "linux-headers-generic-hwe-24.04",
        "linux-headers-virtual",
    ]


def test_signed_modules_follow_new_kernels() -> None:
    assert followers("linux-modules-nvidia-580-server-open", {"linux-image-virtual"}) == [
        "linux-modules-nvidia-580-server-open-generic"
    ]


def test_a_kernel_without_a_package_is_named() -> None:
    script = require(["linux-headers-9.9.9-none"], "")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("kernel 9.9.9-none of /lib/modules gets no NVIDIA module")


def test_the_compilers_words_are_found(tmp_path: Path) -> None:
    log = tmp_path / "nvidia/580.95.05/build/make.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "CC [M] nv.o\n/src/nv.c:12:2: error: too few arguments to function\n"
        "make[2]: *** [scripts/Makefile.build:243: nv.o] Error 1\n"
    )
    script = SAY_WHY.replace("/var/lib/dkms", str(tmp_path))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [
        f"{log}:",
        "/src/nv.c:12:2: error: too few arguments to function",
        "make[2]: *** [scripts/Makefile.build:243: nv.o] Error 1",
    ]


def test_a_log_without_an_error_shows_its_end(tmp_path: Path) -> None:
    log = tmp_path / "build/make.log"
    log.parent.mkdir()
    log.write_text("one\nKilled\n")
    script = SAY_WHY.replace("/var/lib/dkms", str(tmp_path))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [f"{log}:", "one", "Killed"]


def test_modules_belong_to_the_kernel_before_them() -> None:
    output = [
        "kernel 6.12.1 yes",
        "module 550.163.01 6.12.1 /lib/modules/6.12.1/nvidia-current.ko.xz",
        "module  /lib/modules/6.12.1/damaged.ko",
        "kernel 6.12.2 no",
    ]
    first, second = Kernels().process(output)
    assert first.headers
    assert [one.version for one in first.modules] == ["550.163.01"]
    assert second == Kernel(release="6.12.2")


def test_a_unit_without_a_file_starts_nothing() -> None:
    command = StartCommand().command(unit="no-such.service")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert StartCommand().process(done.stdout.splitlines()) == ""


def wants(source: str, branch: str, *, is_open: bool) -> NvidiaDriver:
    return NvidiaDriver(driver_source=source, driver_branch=branch, driver_open=is_open)


@pytest.mark.parametrize(
    ("data", "os_name", "module"),
    [
        (wants("distribution", "550", is_open=False), "debian-13", "nvidia-kernel-dkms"),
        (wants("distribution", "550", is_open=True), "debian-13", "nvidia-open-kernel-dkms"),
        (wants("nvidia", "580", is_open=True), "debian-13", "nvidia-kernel-open-dkms"),
        (wants("nvidia", "580", is_open=False), "debian-13", "nvidia-kernel-dkms"),
        (wants("nvidia", "580", is_open=True), "ubuntu-24.04", "nvidia-dkms-580-open"),
        (wants("nvidia", "580", is_open=False), "ubuntu-24.04", "nvidia-dkms-580"),
        (wants("nvidia", "590", is_open=True), "ubuntu-24.04", "nvidia-dkms-open"),
    ],
)
def test_the_module_is_of_the_flavour_asked_for(
    data: NvidiaDriver, os_name: str, module: str
) -> None:
    assert [name for name in packages(data, os_name) if "dkms" in name] == [module]
    assert signed_modules(data, os_name) == ""


def test_ubuntus_own_modules_are_signed() -> None:
    data = wants("distribution", "580", is_open=True)
    assert signed_modules(data, "ubuntu-24.04") == "linux-modules-nvidia-580-server-open"
    assert "nvidia-headless-no-dkms-580-server-open" in packages(data, "ubuntu-24.04")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("nvidia", ("cuda-toolkit-13-0", "cudnn9-cuda-13")),
        ("distribution", ("nvidia-cuda-toolkit",)),
    ],
)
def test_cudnn_comes_from_nvidia_alone(source: str, names: tuple[str, ...]) -> None:
    data = Cuda(driver_source=source, cuda_toolkit="13.0", cudnn="9")
    assert cuda.packages(data) == names
