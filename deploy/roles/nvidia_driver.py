"""Role nvidia_driver: NVIDIA's driver without a desktop, its modules for every kernel."""

import dataclasses
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from deploy.operations import apt, archives, driver, systemd
from deploy.operations.files import put_atomic
from deploy.operations.held import HELD, KERNELS
from deploy.runner import supported
from deploy.runner.data import read
from deploy.runner.role import Packages, role
from deploy.runner.sources import Programs, file_text, template_text

NVIDIA = "https://developer.download.nvidia.com/compute/cuda/repos"

#: NVIDIA's folder for a release, the key in it, and its fingerprint. Debian 13 refuses the older
#: key, whose own signature is of SHA-1. Source: NVIDIA/cuda-repo-management, README.md, "GPG keys",
#: and its issues 30 and 39.
REPOSITORIES = {
    "debian-13": ("debian13", "8793F200.pub", "02182E60104FCDC26EAE1B8597A5D4CB8793F200"),
    "ubuntu-24.04": ("ubuntu2404", "3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC"),
}

#: Signs modules for Secure Boot.
SECURE_BOOT = Programs("cube_secure_boot.py")

OPTIONS = "/etc/modprobe.d/60-cube-nvidia.conf"
KERNELS_HELD = "/etc/apt/apt.conf.d/53cube-kernels"
RULES = "/etc/udev/rules.d/60-cube-nvidia.rules"
DAEMON = "nvidia-persistenced.service"
DROP_INS = f"/etc/systemd/system/{DAEMON}.d"
#: Layer 3 installs and holds these.
LATER = r"nvidia-container|libnvidia-container"

#: What Debian's packages load at boot, GPU or not. Source: nvidia-kernel-support and
#: nvidia-open-kernel-support; these are files of their configuration, and stay as we leave them.
LOADED = {False: "/etc/nvidia/current/nvidia-load.conf",
          True: "/etc/nvidia/current-open/nvidia-load.conf"}  # fmt: skip

#: The module is contrib or non-free, the libraries are non-free, the GSP firmware is of its own.
DEBIAN_COMPONENTS = "contrib non-free non-free-firmware"

#: From this branch on, NVIDIA's packages for Ubuntu have no branch in their names.
#: Source: NVIDIA Driver Installation Guide, "Recent Updates", "Ubuntu 590 and later packages".
UNNUMBERED = 590


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """What DKMS signs modules with, and the command that makes it."""

    key: str
    certificate: str
    generate: tuple[str, ...]


#: By operating system. Ubuntu's DKMS has no `generate_mok`, and takes the key of shim-signed.
#: Source: dkms 3.2.2 (Debian 13) and 3.0.11 (Ubuntu 24.04), prepare_signing; shim-signed 1.58,
#: update-secureboot-policy.
SIGNING_KEYS = {
    "debian-13": SigningKey(
        key="/var/lib/dkms/mok.key",
        certificate="/var/lib/dkms/mok.pub",
        generate=("dkms", "generate_mok"),
    ),
    "ubuntu-24.04": SigningKey(
        key="/var/lib/shim-signed/mok/MOK.priv",
        certificate="/var/lib/shim-signed/mok/MOK.der",
        generate=("update-secureboot-policy", "--new-key"),
    ),
}
ENROLMENT = "cube-secure-boot.service"


@dataclass(frozen=True, kw_only=True)
class NvidiaDriver:
    """What the role reads."""

    driver_source: str
    driver_branch: str
    driver_open: bool
    nvidia_url: str = ""
    nvidia_fingerprint: str = ""
    proxy: str = ""
    apt_mirror: str = ""
    apt_security_mirror: str = ""
    building: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether packages come from a mirror while building."""
        return bool(self.apt_mirror or self.apt_security_mirror)


@role("NVIDIA driver")
def nvidia_driver() -> Packages:
    """Install the driver and keep it as it is."""
    data = read(NvidiaDriver)
    os_name = supported.check()
    add_archives(data, os_name)
    set_up_modules(data, os_name)
    yield ()
    driver.install(
        name=f"Install the driver of branch {data.driver_branch} for every kernel",
        packages=packages(data, os_name),
        signed=signed_modules(data, os_name),
    )
    set_up_daemon()
    driver.refresh_initramfs(name="Keep nouveau out of the initramfs", files=(OPTIONS,))
    apt.hold(name="Hold NVIDIA's packages at their version", patterns=HELD, but=LATER)
    hold_kernels(bool(signed_modules(data, os_name)))
    driver.verify(name="Prove that packages and modules are of one version, for every kernel")
    prepare_secure_boot(data, os_name)
    driver.ask_for_restart(name="Ask for a restart when the driver is new")


def add_archives(data: NvidiaDriver, os_name: str) -> None:
    """Say where the driver comes from; the branch is pinned before any part of it is there."""
    if os_name == "debian-13":
        components = "contrib" if data.driver_source == "nvidia" else DEBIAN_COMPONENTS
        archives.add_debian_components(components, mirrored=data.mirrored)
    if data.driver_source == "nvidia":
        add_nvidia(data, os_name)
        apt.install(
            name=f"Pin the driver to branch {data.driver_branch}",
            packages=(f"nvidia-driver-pinning-{data.driver_branch}",),
        )


def add_nvidia(data: NvidiaDriver, os_name: str) -> None:
    """Take packages from NVIDIA, or a mirror of it; its key is known by its fingerprint."""
    folder, key, known = REPOSITORIES[os_name]
    base = f"{(data.nvidia_url or NVIDIA).rstrip('/')}/{folder}/x86_64"
    archive = archives.Archive(
        owner="NVIDIA",
        stem="nvidia-cuda",
        key_url=f"{base}/{key}",
        fingerprint=data.nvidia_fingerprint or known,
        url=f"{base}/",
    )
    archives.add(archive, proxy=data.proxy, mirrored=data.mirrored)
    put_atomic(
        name="Prefer NVIDIA's packages to others of the same names",
        dest="/etc/apt/preferences.d/60-cube-nvidia",
        content=template_text("nvidia_driver/preferences.j2", host=urlsplit(base).hostname),
        tried_by=apt.PREFERS,
    )


def packages(data: NvidiaDriver, os_name: str) -> tuple[str, ...]:
    """Name the packages for computing only: module, CUDA's driver library, nvidia-smi, daemon.

    Source: packages.debian.org (trixie), packages.ubuntu.com (noble-updates, restricted), and
    NVIDIA Driver Installation Guide, "Compute-only (Headless) System", for Debian and Ubuntu.
    """
    branch, flavour = data.driver_branch, "-open" if data.driver_open else ""
    match (data.driver_source, os_name):
        case ("distribution", "debian-13"):
            module = f"nvidia{flavour}-kernel-dkms"
            return (module, "libcuda1", "mokutil", "nvidia-persistenced", "nvidia-smi")
        case ("distribution", _):
            return (
                f"nvidia-headless-no-dkms-{branch}-server{flavour}",
                f"nvidia-utils-{branch}-server",
            )
        case ("nvidia", "debian-13"):
            module = f"nvidia-kernel{flavour}-dkms"
            return (module, "mokutil", "nvidia-driver-cuda", "nvidia-persistenced")
    if int(branch) >= UNNUMBERED:
        return ("libnvidia-compute", "mokutil", f"nvidia-dkms{flavour}", "nvidia-persistenced")
    return (
        f"libnvidia-compute-{branch}",
        "mokutil",
        f"nvidia-dkms-{branch}{flavour}",
        "nvidia-persistenced",
        f"nvidia-utils-{branch}",
    )


def signed_modules(data: NvidiaDriver, os_name: str) -> str:
    """Return how packages of prebuilt, signed modules begin; empty where there are none."""
    if data.driver_source != "distribution" or os_name != "ubuntu-24.04":
        return ""
    return f"linux-modules-nvidia-{data.driver_branch}-server{'-open' if data.driver_open else ''}"


def hold_kernels(signed: bool) -> None:
    """Hold kernels where modules are made elsewhere; DKMS makes them for any kernel that comes."""
    content = template_text("nvidia_driver/kernels.conf.j2", kernels=KERNELS) if signed else ""
    apt.held_together(
        name="Hold kernels with their signed modules" if signed else "Leave kernels free",
        patterns=KERNELS,
        file=KERNELS_HELD,
        content=content,
    )


def set_up_modules(data: NvidiaDriver, os_name: str) -> None:
    """Write what packages find when they build or start something: it has effect at once."""
    files = {
        OPTIONS: ("modprobe.conf", "Keep nouveau away, let the kernel set display modes"),
        f"{DROP_INS}/60-cube.conf": (
            "persistenced.conf",
            "Skip the persistence daemon where there is no GPU",
        ),
    }
    if os_name == "debian-13":
        files |= {
            RULES: ("udev.rules", "Load the modules where there is a GPU"),
            LOADED[data.driver_open]: ("load.conf", "Load no module where there is none"),
        }
    for dest, (source, title) in files.items():
        put_atomic(name=title, dest=dest, content=file_text(f"nvidia_driver/{source}"))


def set_up_daemon() -> None:
    """Keep the GPUs initialised while nobody uses them, from the next start on."""
    driver.persist(
        name="Let the persistence daemon keep the GPUs initialised",
        unit=DAEMON,
        dest=f"{DROP_INS}/61-cube-persist.conf",
    )
    systemd.units(name="Start the persistence daemon at boot", names=DAEMON)


def prepare_secure_boot(data: NvidiaDriver, os_name: str) -> None:
    """Let each machine sign with a key of its own, where the distribution has not signed."""
    signed, own = bool(signed_modules(data, os_name)), SIGNING_KEYS[os_name]
    put_atomic(
        name="Say what Secure Boot asks for",
        dest="/etc/cube/secure-boot.txt",
        content=template_text(
            "nvidia_driver/secure-boot.txt.j2",
            signed=signed,
            key=own.key,
            certificate=own.certificate,
            generate=" ".join(own.generate),
        ),
    )
    if signed:
        return
    if data.building:
        driver.forget_signing_key(name="Forget the key that signed the modules")
    ask_for_enrolment(own, running=None if data.building else True)


def ask_for_enrolment(own: SigningKey, *, running: bool | None) -> None:
    """Install what makes a machine's key at its first boot, and asks shim to enroll it."""
    put_atomic(
        name="Say which key signs the modules",
        dest="/etc/cube/secure-boot.json",
        content=json.dumps(dataclasses.asdict(own), indent=2) + "\n",
    )
    put_atomic(
        name="Install the program that asks for the key's enrolment",
        dest="/usr/local/sbin/cube-secure-boot",
        content=SECURE_BOOT.text(),
        mode="755",
    )
    put_atomic(
        name=f"Describe {ENROLMENT}",
        dest=f"/etc/systemd/system/{ENROLMENT}",
        content=file_text(f"nvidia_driver/{ENROLMENT}"),
    )
    systemd.units(
        name="Sign the modules, and ask for the key's enrolment, where Secure Boot is on",
        names=ENROLMENT,
        running=running,
    )
