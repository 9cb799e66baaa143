"""What cube.toml may say: every key with its type, default and rule."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cube.config import addresses
from cube.config.accounts import Login, User
from cube.config.addresses import Download, Hostname, Index, LibvirtUri, Mirror, Proxy
from cube.config.certificates import Certificates
from cube.config.gpu import Gpu, Stack
from cube.config.paths import Folder, KeyPath, optional_file
from cube.config.ssh_keys import SshKey
from cube.config.values import (
    Locale,
    Name,
    Section,
    SizeMib,
    Timezone,
    Version,
    between,
    check_refresh,
)
from cube.runtime.toml_errors import shown

OsName = Literal["debian-13", "ubuntu-24.04"]
OS_NAMES: tuple[OsName, ...] = get_args(OsName)

#: The layers that make sense only with a GPU.
GPU_LAYERS = (2, 3, 4)

#: Every layer with its roles, in the order in which they are applied.
LAYER_ROLES: dict[int, tuple[str, ...]] = {
    1: ("common", "users", "security", "docker", "python"),
    2: ("nvidia_driver", "cuda"),
    3: ("gpu_runtime",),
    4: ("frameworks",),
    5: ("monitoring", "validation"),
}


#: Where the root is: in a logical volume, or in the partition itself.
Layout = Literal["lvm", "plain"]
#: Layout of the root where cube.toml names none. Source: the specification, line 2.4.
LAYOUTS: dict[OsName, Layout] = {"debian-13": "plain", "ubuntu-24.04": "lvm"}


class Image(Section):
    """What is built. `disk_size` and `swap` are in MiB; without `layout` the OS decides."""

    name: Name = "vault-cube"
    version: Version = "0.1.0"
    os: OsName = "debian-13"
    disk_size: Annotated[SizeMib, AfterValidator(between("6 GiB", "16 TiB"))] = "16 GiB"  # type: ignore[assignment]
    layout: Layout | None = None
    swap: Annotated[SizeMib, AfterValidator(between("0 MiB", "1 TiB"))] = "0 MiB"  # type: ignore[assignment]
    hostname: Hostname = "cube"
    locale: Locale = "en_US.UTF-8"
    timezone: Timezone = "Etc/UTC"

    @property
    def disk_layout(self) -> Layout:
        """The layout of the root: what cube.toml says, else the OS's default."""
        return self.layout or LAYOUTS[self.os]


class Admin(Section):
    """The account that people log in with. `ssh_keys` holds public key lines."""

    user: User = "cube"
    ssh_keys: Annotated[tuple[SshKey, ...], Field(examples=[("~/.ssh/id_ed25519.pub",)])] = ()


class Layers(Section):
    """Which layers are applied, and which roles of each."""

    enabled: tuple[int, ...] = (1, 2, 3, 4, 5)
    layer1: tuple[str, ...] = LAYER_ROLES[1]
    layer2: tuple[str, ...] = LAYER_ROLES[2]
    layer3: tuple[str, ...] = LAYER_ROLES[3]
    layer4: tuple[str, ...] = LAYER_ROLES[4]
    layer5: tuple[str, ...] = LAYER_ROLES[5]

    @field_validator("enabled")
    @classmethod
    def _check_enabled(cls, enabled: tuple[int, ...]) -> tuple[int, ...]:
        refuse(layer_mistakes(enabled))
        return enabled

    @field_validator(*(f"layer{number}" for number in LAYER_ROLES))
    @classmethod
    def _check_roles(cls, roles: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        layer = int(str(info.field_name).removeprefix("layer"))
        refuse(role_mistakes(layer, roles))
        return roles

    @model_validator(mode="after")
    def _check(self) -> Self:
        for number in self.enabled:
            if not self.roles(number):
                raise ValueError(f"layer{number} is empty, but enabled: name a role of it")
        return self

    def roles(self, layer: int) -> tuple[str, ...]:
        """Return the roles of a layer, in the order of the file."""
        roles: tuple[str, ...] = getattr(self, f"layer{layer}")
        return roles


def layer_mistakes(enabled: tuple[int, ...]) -> Iterator[str]:
    """Name unknown and repeated layers, none at all, and a stack without its foundation."""
    for number in sorted(set(enabled)):
        if number not in LAYER_ROLES:
            yield f"there is no layer {shown(number)}: choose from 1 to 5"
        elif enabled.count(number) > 1:
            yield f"layer {number} is listed twice: name it once"
    if not enabled:
        yield "it is empty: name at least layer 1"
    elif 1 not in enabled:
        yield "every layer stands on layer 1: add 1"
    driver, *users = GPU_LAYERS
    for number in users:
        if number in enabled and driver not in enabled:
            yield f"layer {number} needs the driver of layer 2: add 2 or drop {number}"


def role_mistakes(layer: int, roles: tuple[str, ...]) -> Iterator[str]:
    """Name unknown and repeated roles."""
    for role in sorted(set(roles)):
        if role not in LAYER_ROLES[layer]:
            known = ", ".join(LAYER_ROLES[layer])
            yield f"layer{layer} has no role {shown(role)}: choose from {known}"
        elif roles.count(role) > 1:
            yield f"layer{layer} lists the role {shown(role)} twice: name it once"


def refuse(mistakes: Iterable[str]) -> None:
    """Raise if there is a mistake, and tell all of them.

    Raises:
        ValueError: there is one.
    """
    if found := list(mistakes):
        raise ValueError("; ".join(found))


class Docker(Section):
    """Where Docker Engine comes from."""

    source: Literal["distribution", "docker"] = "distribution"


#: What is refused on a host that somebody uses, unless cube.toml allows it.
Harm = Literal["remove-packages", "stop-containers", "stop-jobs", "close-root", "second-firewall"]
HARMS: tuple[Harm, ...] = get_args(Harm)


class Apply(Section):
    """What `cube apply` may do to a host beyond adding to it."""

    allow: tuple[Harm, ...] = ()


class Network(Section):
    """How the world is reached while building, and by the image."""

    ca_certificates: Certificates = "host"
    keep_ca_certificates: bool = False
    proxy: Proxy = ""
    apt_mirror: Mirror = ""
    apt_security_mirror: Mirror = ""
    package_cache: addresses.PackageCache = "auto"
    pypi_index: Index = ""
    ntp_servers: Annotated[tuple[addresses.Host, ...], Field(examples=[("192.0.2.1",)])] = ()


class Build(Section):
    """How this machine builds. `memory` is in MiB."""

    dir: Folder = "build"  # type: ignore[assignment]
    machine: Literal["auto", "vm", "container"] = "auto"
    libvirt_uri: LibvirtUri = "qemu:///embed"
    cpus: Annotated[int, Field(ge=1, le=256)] = 2
    memory: Annotated[SizeMib, AfterValidator(between("1 GiB", "1 TiB"))] = "2 GiB"  # type: ignore[assignment]
    refresh: Annotated[str, AfterValidator(check_refresh)] = "1 day"
    keep_chains: Annotated[int, Field(ge=1, le=1000)] = 3


def check_sha256(value: str) -> str:
    """Accept a checksum as sha256sum(1) prints it.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("write the 64 small hexadecimal digits that SHA256SUMS has for the ISO")
    return value


class Ubuntu(Section):
    """The installer of the Ubuntu image, and its JSON schema where there is a copy of it."""

    iso_url: Download
    iso_sha256: Annotated[str, AfterValidator(check_sha256)]
    autoinstall_schema: Annotated[Path | Literal[""], BeforeValidator(optional_file)] = ""


class Debian(Section):
    """The bootstrap of the Debian image."""

    kernel: Literal["generic", "cloud"] = "generic"


class OsTable(Section):
    """What only one of the operating systems needs."""

    ubuntu: Ubuntu | None = Field(default=None, alias="ubuntu-24.04")
    debian: Debian = Field(default=Debian(), alias="debian-13")


class Host(Section):
    """A machine on the network that layers are applied to."""

    address: Annotated[addresses.Host, Field(examples=["192.0.2.10"])]
    port: Annotated[int | None, Field(ge=1, le=65535, examples=[22])] = None
    user: Login = "cube"
    key: Annotated[KeyPath | None, Field(examples=["~/.ssh/id_ed25519"])] = None
    become: Literal["sudo", "su"] = "sudo"


class Spec(Section):
    """All of cube.toml. `file` is where it was read."""

    file: Path
    image: Image = Image()
    admin: Admin = Admin()
    layers: Layers = Layers()
    gpu: Gpu = Gpu()
    stack: Stack = Stack()
    docker: Docker = Docker()
    apply: Apply = Apply()
    network: Network = Network()
    build: Build
    os: OsTable = OsTable()
    hosts: Annotated[dict[Name, Host], Field(default_factory=dict)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.image.os == "ubuntu-24.04" and self.os.ubuntu is None:
            raise ValueError('image.os is ubuntu-24.04, which needs the table [os."ubuntu-24.04"]')
        if self.gpu.mode == "assume" and not set(self.layers.enabled) & set(GPU_LAYERS):
            raise ValueError(
                'gpu.mode = "assume" with none of the layers 2-4 enabled does nothing: '
                'enable them, or set gpu.mode = "skip"'
            )
        return self
