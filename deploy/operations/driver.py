"""The NVIDIA driver: packages with modules for every kernel, proven to fit together."""

import re
import shlex
from collections.abc import Collection, Generator, Mapping, Sequence

from pyinfra import host
from pyinfra.api import StringCommand, operation

from deploy.facts.apt import FileExists, Installed, Package, Packages
from deploy.facts.kernels import Kernel, Kernels, StaleInitramfs
from deploy.facts.nvidia import InstalledSinceBoot, StartCommand
from deploy.operations.apt import MAX_AGE_S, get, refresh
from deploy.operations.files import put_atomic

#: Metapackages that bring the newest kernel of a flavour: "linux-image-generic-hwe-24.04".
IMAGE = re.compile(r"linux-image-(?!\d|unsigned|extra)(.+?)(?<!-dbg)")
#: The driver's own version, "580.95.05": CUDA's and the container toolkit's look otherwise.
VERSION = re.compile(r"(?:\d+:)?(\d{3}\.\d{2,3}(?:\.\d{2})?)(?=[-+~]|$)")
#: Packages with the driver's version in common; those that Debian builds on their own are not.
PART = re.compile(r"nvidia-|libnvidia-|libcuda1|firmware-nvidia|libnvcuvid|libnvoptix|cuda-drivers")
APART = re.compile(r"nvidia-(modprobe|settings|xconfig|persistenced|container)|libnvidia-container")

#: DKMS leaves the log of a build that failed in its build folder. Source: dkms(8), /var/lib/dkms.
SAY_WHY = (
    r"for log in $(find /var/lib/dkms -path '*/build/make.log'); do echo \"$log:\" >&2;"
    r" { grep -hE ': (fatal )?error: |^ERROR: |undefined!|No rule to make|\*\*\* \[' $log"
    r" || tail -n 8 $log; } | cut -c -300 | awk '!seen[$0]++' | head -n 12 >&2; done"
).replace('\\"', '"')
#: What DKMS signs modules with. Source: dkms(8), mok_signing_key, of Debian and of Ubuntu.
SIGNING_KEYS = ("/var/lib/dkms/mok.key", "/var/lib/shim-signed/mok/MOK.priv")


@operation()
def install(packages: Sequence[str], *, signed: str = "") -> Generator[str, None, None]:
    """Install the driver in one call, with what gives every kernel of the disk its module.

    Args:
        packages: names of the driver's packages.
        signed: prebuilt modules by the start of their packages' names,
            "linux-modules-nvidia-580-server-open"; empty lets DKMS build, which needs headers.
    """
    installed, kernels = host.get_fact(Installed), host.get_fact(Kernels)
    per_kernel = [
        f"{signed or 'linux-headers'}-{kernel.release}"
        for kernel in kernels
        if signed or not kernel.headers
    ]
    wanted = [*packages, *per_kernel, *followers(signed, installed)]
    missing = sorted({name for name in wanted if name not in installed})
    if not missing:
        host.noop("the driver is installed for every kernel")
        return
    yield from refresh._inner(MAX_AGE_S)
    needed = [name for name in missing if name in per_kernel]
    guard = f"{require(needed, signed)} && " if needed else ""
    yield (
        f"{guard}{{ {get(f'--no-install-recommends install {shlex.join(missing)}')}"
        f" || {{ {SAY_WHY}; exit 1; }}; }}"
    )


def followers(signed: str, installed: Collection[str]) -> list[str]:
    """Name the packages that bring headers, or signed modules, along with each new kernel."""
    flavours = [found[1] for name in sorted(installed) if (found := IMAGE.fullmatch(name))]
    if not signed:
        return [f"linux-headers-{flavour}" for flavour in flavours]
    # A virtual machine's kernel is the generic one with fewer drivers.
    return sorted({f"{signed}-{flavour.replace('virtual', 'generic')}" for flavour in flavours})


def require(names: Sequence[str], signed: str) -> str:
    """Return a command that fails with a word about the kernel that lacks a package."""
    stem = signed or "linux-headers"
    return (
        f"for name in {shlex.join(names)}; do"
        " if ! apt-cache show $name >/dev/null 2>&1; then"
        f' echo "kernel ${{name#{stem}-}} of /lib/modules gets no NVIDIA module: there is no'
        ' package $name in the archives; remove that kernel, or add an archive that has it" >&2;'
        " exit 1; fi; done"
    )


@operation()
def persist(unit: str, dest: str) -> Generator[StringCommand, None, None]:
    """Let the persistence daemon do its work: Ubuntu's unit starts it without.

    Args:
        unit: its unit.
        dest: a drop-in that is written where the unit's own command switches the work off.
    """
    command = host.get_fact(StartCommand, unit=unit)
    words = command.split()
    if "--no-persistence-mode" not in words:
        host.noop(f"{unit} starts in persistence mode")
        return
    start = " ".join(word for word in words if word != "--no-persistence-mode")
    content = f"[Service]\nExecStart=\nExecStart={start}\n"
    yield from put_atomic._inner(dest=dest, content=content)


@operation()
def refresh_initramfs(files: Sequence[str]) -> Generator[str, None, None]:
    """Rebuild every initramfs if one is older than a file that goes into it."""
    if host.get_fact(StaleInitramfs, paths=tuple(files)):
        # A file of the future, from before the clock was set back, would be newer at every run.
        yield f"touch -c {' '.join(files)} && update-initramfs -u -k all"


@operation()
def verify() -> Generator[str, None, None]:
    """Fail when a kernel lacks the module, or packages and modules are of several versions."""
    kernels, packages = host.get_fact(Kernels), host.get_fact(Packages)
    found = problems(kernels, packages)
    if found:
        yield f"printf '%s\\n' {shlex.join(found)} >&2; {SAY_WHY}; exit 1"


def problems(kernels: Sequence[Kernel], packages: Mapping[str, Package]) -> list[str]:
    """Say what does not fit together; nothing of a host that runs nothing."""
    if not packages:
        return []
    parts = versions(packages)
    if len(set(parts.values())) != 1:
        told = ", ".join(f"{name} {version}" for name, version in sorted(parts.items()))
        return [f"the driver's packages are not of one version: {told or 'there are none'}"]
    if not kernels:
        return ["/lib/modules has no kernel that a module could be for"]
    wanted = next(iter(parts.values()))
    return [line for kernel in kernels for line in faults(kernel, wanted)]


def versions(packages: Mapping[str, Package]) -> dict[str, str]:
    """Return the driver's version by the names of the packages that carry it."""
    parts = [name for name in packages if PART.match(name) and not APART.match(name)]
    found = {name: VERSION.match(packages[name].version) for name in parts}
    return {name: match[1] for name, match in found.items() if match}


def faults(kernel: Kernel, wanted: str) -> list[str]:
    """Say what is wrong with a kernel's modules."""
    if not kernel.modules:
        return [f"kernel {kernel.release} has no NVIDIA module: DKMS did not build it"]
    return [
        f"{module.path} is of version {module.version} for kernel {module.built_for},"
        f" expected {wanted} for {kernel.release}"
        for module in kernel.modules
        if (module.version, module.built_for) != (wanted, kernel.release)
    ]


@operation()
def forget_signing_key() -> Generator[str, None, None]:
    """Remove the private key that DKMS made: every copy of an image would share it."""
    for path in SIGNING_KEYS:
        if host.get_fact(FileExists, path=path):
            yield f"rm {path}"


@operation()
def ask_for_restart() -> Generator[str, None, None]:
    """Note that a restart is due when the driver came after the system started.

    It looks at the host, not at what this run did. Source: debian-policy, /run/reboot-required.
    """
    packages = host.get_fact(Packages)
    parts = tuple(sorted(versions(packages)))
    fresh = host.get_fact(InstalledSinceBoot, names=parts) if parts else []
    if fresh:
        yield (
            "echo '*** System restart required ***' > /run/reboot-required"
            f" && printf '%s\\n' {shlex.join(fresh)} >> /run/reboot-required.pkgs"
        )
