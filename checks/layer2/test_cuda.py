"""The CUDA toolkit: found by a login, of the version asked for, and able to compile for the GPU."""

import re
from collections.abc import Iterator, Mapping

import pytest
from testinfra.host import Host

from cube.config import Spec
from cube.stack.profile import Profile
from cube.stack.table import Gpu

SOURCE = r"""
#include <cstdio>
#include <cuda_runtime.h>
__global__ void twice(int *value) { *value *= 2; }
int main(int count, char **) {
    int version = 0, value = 21, *there = nullptr;
    if (cudaRuntimeGetVersion(&version) != cudaSuccess) return 1;
    std::printf("runtime %d\n", version);
    if (count == 1) return 0;
    if (cudaMalloc(&there, sizeof value) != cudaSuccess) return 2;
    cudaMemcpy(there, &value, sizeof value, cudaMemcpyHostToDevice);
    twice<<<1, 1>>>(there);
    cudaMemcpy(&value, there, sizeof value, cudaMemcpyDeviceToHost);
    std::printf("value %d\n", value);
    return 0;
}
"""


def login(spec: Spec, command: str) -> tuple[str, str, str]:
    """Return the arguments that run a command as the administrator who has logged in."""
    return "su --login %s --command %s", spec.admin.user, command


@pytest.fixture(scope="module")
def program(host: Host, spec: Spec, gpu: Gpu) -> Iterator[str]:
    """Path of a program that was compiled for the GPU and finds its library when it starts."""
    folder = host.check_output(*login(spec, "mktemp -d"))
    build = (
        f"cd {folder} && cat > check.cu && nvcc -arch=sm_{gpu.sm} --cudart shared -o check check.cu"
    )
    try:
        made = host.run(
            "printf %%s %s | su --login %s --command %s", SOURCE, spec.admin.user, build
        )
        assert made.rc == 0, made.stderr + made.stdout
        yield f"{folder}/check"
    finally:
        host.run("rm -r %s", folder)


def test_compiler_is_on_the_path_of_a_login(host: Host, spec: Spec) -> None:
    assert host.run(*login(spec, "command -v nvcc")).rc == 0


def test_compiler_is_of_the_version_asked_for(host: Host, spec: Spec, stack: Profile) -> None:
    said = re.search(r"release (\d+\.\d+)", host.check_output(*login(spec, "nvcc --version")))
    assert said
    assert said[1] == stack.cuda


def test_home_of_cuda_is_known_to_a_login(host: Host, spec: Spec) -> None:
    home = host.check_output(*login(spec, "echo $CUDA_HOME"))
    assert host.file(f"{home}/include/cuda.h").exists


def test_a_program_for_the_gpu_compiles(host: Host, program: str) -> None:
    assert host.file(program).is_file


def test_the_program_has_code_for_the_gpu(host: Host, spec: Spec, program: str, gpu: Gpu) -> None:
    listed = host.check_output(*login(spec, f"cuobjdump --list-elf {program}"))
    assert set(re.findall(r"\.(sm_\w+)\.cubin", listed)) == {f"sm_{gpu.sm}"}


def test_the_program_finds_its_library(host: Host, program: str, stack: Profile) -> None:
    major, minor = stack.cuda.split(".")
    assert host.check_output(program) == f"runtime {int(major) * 1000 + int(minor) * 10}"


@pytest.mark.needs("gpu")
def test_the_program_computes(host: Host, program: str) -> None:
    assert "value 42" in host.check_output(f"{program} compute")


def test_cuda_is_held(host: Host, packages: Mapping[str, str]) -> None:
    held = set(host.check_output("apt-mark showhold").split())
    ours = [name for name in packages if re.match("cuda-|cudnn|libcudnn|nvidia-cuda-", name)]
    assert ours
    assert sorted({*ours} - held) == []


def test_cudnn_is_of_the_archive_and_no_download(
    packages: Mapping[str, str], spec: Spec, stack: Profile
) -> None:
    # Debian's nvidia-cudnn fetches from NVIDIA while it is installed, past apt's signatures.
    major = stack.cuda.split(".")[0]
    wanted = [f"cudnn{stack.cudnn}-cuda-{major}"] if spec.stack.source == "nvidia" else []
    have = [name for name in packages if name in {*wanted, "nvidia-cudnn"}]
    assert have == wanted
