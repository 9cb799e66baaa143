"""The compatibility table: what works with what, and where that is written."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cube.stack.reading import Table, Version, read_toml, validate

FILE = Path(__file__).parent / "compatibility.toml"

Source = Annotated[str, Field(min_length=8)]
#: A compute capability without its point: "120" is 12.0.
Sm = Annotated[str, Field(pattern=r"^\d{2,3}$")]
Modules = Literal["open", "proprietary"]
#: The first and the last minor version of Python that there are wheels for.
Pythons = tuple[Version, Version]


class Gpu(Table):
    """A model. `pci` holds device ids of vendor 10de; `driver` is set where it came late."""

    title: str
    pci: Annotated[tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{4}$")], ...], Field(min_length=1)]
    architecture: str
    sm: Sm
    memory_mib: Annotated[int, Field(gt=0)]
    driver: Version | None = None
    source: Source


class Architecture(Table):
    """A generation: the least driver, CUDA and NCCL; the last ones where support has ended."""

    driver: Version
    last_branch: Version | None = None
    modules: Annotated[tuple[Modules, ...], Field(min_length=1)]
    cuda: Version
    last_cuda: Version | None = None
    nccl: Version | None = None
    source: Source


class Cuda(Table):
    """A release: the driver that it came with, and the least one that serves it."""

    driver: Version
    floor: Version
    source: Source


class Torch(Table):
    """A release on PyPI."""

    cuda: Version
    cudnn: Version
    nccl: Version
    sm: Annotated[tuple[Sm, ...], Field(min_length=1)]
    python: Pythons
    source: Source


class Vllm(Table):
    """A release on PyPI; without `sm` it was not measured."""

    torch: Version
    python: Pythons
    sm: tuple[Sm, ...] = ()
    source: Source


class Tensorflow(Table):
    """A release on PyPI with its extra and-cuda; `cuda` made its `ptx`."""

    cuda: Version
    cudnn: Version
    sm: Annotated[tuple[Sm, ...], Field(min_length=1)]
    ptx: Sm | None = None
    python: Pythons
    source: Source


class System(Table):
    """An operating system: Python, C library, its own archive, NVIDIA's repository for it."""

    python: Version
    glibc: Version
    drivers: tuple[Version, ...]
    cuda: Version
    repository: str
    repository_cuda: Version
    repository_driver: Version
    source: Source


class Compatibility(Table):
    """All of compatibility.toml."""

    gpu: Mapping[str, Gpu]
    architecture: Mapping[str, Architecture]
    cuda: Mapping[str, Cuda]
    torch: Mapping[str, Torch]
    vllm: Mapping[str, Vllm]
    tensorflow: Mapping[str, Tensorflow]
    system: Mapping[str, System]


@cache
def load(file: Path = FILE) -> Compatibility:
    """Read the table.

    Raises:
        StackError: it has mistakes, or a row without a source.
    """
    return validate(Compatibility, read_toml(file), file)
