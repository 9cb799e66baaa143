"""The gate without hardware: do the locked wheels hold code for the target's architecture?"""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cube.runtime.errors import StackError
from cube.stack import lockfile
from cube.stack.choice import Choice, covers
from cube.stack.profile import Framework
from cube.stack.wheels import fatbin, fitting, remote

#: Package -> the library with its kernels, the first that a wheel has.
#: Source: the directories of the wheels of torch 2.13.0, vLLM 0.19.1 and 0.32.0, TensorFlow 2.21.0.
LIBRARIES = {
    "torch": (r"torch/lib/libtorch_cuda\.so",),
    "vllm": (r"vllm/_C\.abi3\.so", r"vllm/_C_stable_libtorch\.abi3\.so"),
    "tensorflow": (r"tensorflow/libtensorflow_cc\.so\.2",),
}
#: Told, but no refusal: TensorFlow falls back to the processor.
OPTIONAL = ("tensorflow",)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a wheel holds. `received_mib` is what had to be fetched; 0 of a file."""

    package: str
    version: str
    wheel: str
    library: str
    architectures: tuple[str, ...]
    ptx: tuple[str, ...]
    covered: bool
    received_mib: int

    def as_json(self) -> dict[str, object]:
        """Return all of it."""
        return vars(self)

    def sentence(self, choice: Choice) -> str:
        """Say what is in it, and whether that does."""
        verdict = "yes" if self.covered else f"NO code for sm_{choice.model.sm}"
        built = " ".join(f"sm_{one}" for one in self.architectures) or "no GPU code"
        ptx = f", PTX {' '.join(self.ptx)}" if self.ptx else ""
        return f"{self.package} {self.version}: {built}{ptx}: {choice.gpu}: {verdict}"


def packages(choice: Choice) -> dict[str, Framework]:
    """Return the packages to look into, each with the framework whose lock has it."""
    found: dict[str, Framework] = {}
    for one in choice.wanted:
        lock = lockfile.read(choice.profile.lock(one.name))
        names = [name for name in LIBRARIES if one.cuda and lock.version(name)]
        found |= {name: one for name in names if name not in found}
    return found


def look_remote(choice: Choice, package: str, framework: Framework, source: remote.Source) -> Look:
    """Look into a locked wheel on a package index, by ranges.

    Raises:
        StackError: the index does not have the wheel that the lock names.
    """
    lock = lockfile.read(choice.profile.lock(framework.name))
    version = lock.version(package)
    hashes = {one for entry in lock.entries if entry.name == package for one in entry.hashes}
    listed = {
        file.filename: file for file in remote.listing(source, package) if file.sha256 in hashes
    }
    name = fitting.best(listed, fitting.ranks(choice.system.python, choice.system.glibc))
    if not name:
        raise StackError(
            f"{package} {version}: the index has no wheel for Python {choice.system.python} that"
            " the lock names",
            hint=f"cube stack lock {choice.profile.name}",
        )
    raw, reader = remote.opened(source, listed[name].url, listed[name].size)
    with reader:
        return look(choice, package=package, version=version, wheel=name, reader=reader, raw=raw)


def look_local(choice: Choice, wheel: Path) -> Look:
    """Look into a wheel on the disk.

    Raises:
        StackError: it is none of the packages that have GPU code.
    """
    package, version = (*wheel.name.split("-"), "")[:2]
    if package not in LIBRARIES:
        raise StackError(f"{wheel}: not a wheel of {', '.join(LIBRARIES)}", hint="--wheel FILE")
    try:
        with wheel.open("rb") as reader:
            return look(choice, package=package, version=version, wheel=wheel.name, reader=reader)
    except OSError as error:
        raise StackError(f"{wheel}: cannot be read: {error.strerror}") from error


def look(
    choice: Choice,
    *,
    package: str,
    version: str,
    wheel: str,
    reader: IO[bytes],
    raw: remote.RangeFile | None = None,
) -> Look:
    """Find the library in a wheel, and the architectures in the library."""
    target = choice.model.sm
    until = tuple(f"{target[:-1]}{minor}" for minor in range(int(target[-1]) + 1))
    until = () if package in OPTIONAL else until
    try:
        with zipfile.ZipFile(reader) as archive:
            library = library_of(archive.namelist(), package, wheel)
            with archive.open(library) as stream:
                found = fatbin.scan(stream, until=until)
    except zipfile.BadZipFile as error:
        raise StackError(
            f"{wheel}: not a whole wheel: {error}", hint="download it again"
        ) from error
    return Look(
        package=package,
        version=version,
        wheel=wheel,
        library=library,
        architectures=found.architectures(),
        ptx=tuple(sorted(found.ptx, key=int)),
        covered=covers(found.architectures(), target),
        received_mib=raw.received // 1024**2 if raw else 0,
    )


def library_of(names: list[str], package: str, wheel: str) -> str:
    """Return the library with a package's kernels.

    Raises:
        StackError: the wheel has none: it is a build for the processor.
    """
    for pattern in LIBRARIES[package]:
        for name in names:
            if re.fullmatch(pattern, name):
                return name
    raise StackError(f"{wheel}: it has no GPU code ({' or '.join(LIBRARIES[package])})")
