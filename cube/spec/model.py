"""What cube.toml may say: every key with its type, default and rule."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlparse
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

OsName = Literal["debian-13", "ubuntu-24.04"]
OS_NAMES: tuple[OsName, ...] = get_args(OsName)

#: The layers that make sense only with a GPU.
GPU_LAYERS = (2, 3, 4)

#: Every layer with its roles, in the order in which they are applied.
LAYER_ROLES: dict[int, tuple[str, ...]] = {
    1: ("common", "users", "security", "docker", "python"),
    2: ("nvidia_driver",),
    3: ("gpu_runtime",),
    4: ("frameworks",),
    5: ("monitoring", "validation"),
}

#: Layers whose roles exist. The others are known, and skipped with a word about it.
BUILT_LAYERS = (1, 5)

UNITS_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}


def parse_size_mib(value: object) -> int:
    """Turn "16 GiB" into 16384 (MiB).

    Raises:
        ValueError: it is not a whole number with a unit of MiB, GiB or TiB.
    """
    match = re.fullmatch(r"(\d+) ?(MiB|GiB|TiB)", value) if isinstance(value, str) else None
    if not match:
        raise ValueError('write a size as a number and MiB, GiB or TiB, like "16 GiB"')
    return int(match[1]) * UNITS_MIB[match[2]]


def check_url(value: str) -> str:
    """Accept an http(s) URL or nothing."""
    if value and (urlparse(value).scheme not in {"http", "https"} or not urlparse(value).netloc):
        raise ValueError('write a URL like "http://host:port/", or "" for none')
    return value


def check_user(value: str) -> str:
    """Accept a portable account name that is not the system's.

    Source: useradd(8), "CAVEATS": usernames; 32 characters at most.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", value):
        raise ValueError("an account name has small letters, digits, - and _, 32 at most")
    if value in {"root", "cube-build", "daemon", "nobody", "admin", "sudo", "docker"}:
        raise ValueError(f"{value} is taken by the system: choose another name")
    return value


def check_timezone(value: str) -> str:
    """Accept a name of the tz database."""
    if value not in available_timezones():
        raise ValueError('write a tz name like "Europe/Berlin" (see: timedatectl list-timezones)')
    return value


def check_refresh(value: str) -> str:
    """Accept the greatest age of the package supply, or a pin."""
    if re.fullmatch(r"[1-9]\d* (hour|day|week)s?|never|\d{4}-\d{2}-\d{2}", value):
        return value
    raise ValueError('write an age like "1 day", "6 hours", "2 weeks"; "never"; or a date to pin')


def resolve_path(value: object, info: ValidationInfo) -> object:
    """Make a path absolute: ~ is the user's home, and cube.toml's folder is the base."""
    if not isinstance(value, str):
        return value
    base = (info.context or {}).get("folder", Path.cwd())
    return (base / Path(value).expanduser()).resolve()


def check_file(path: Path) -> Path:
    """Accept a file that can be read."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return path


#: Source: sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; DSA is gone since OpenSSH 10.
KEY_TYPES = (
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+"
    r"|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)"
)
KEY_LINE = re.compile(KEY_TYPES + r" [A-Za-z0-9+/=]+( .*)?")


def read_ssh_key(value: object, info: ValidationInfo) -> str:
    """Turn a public key, or the path of a file that holds one, into the key's line."""
    if not isinstance(value, str):
        raise ValueError("write a public key or the path of its file, in quotes")
    if KEY_LINE.fullmatch(value.strip()):
        return value.strip()
    path = resolve_path(value, info)
    assert isinstance(path, Path)
    if not path.is_file():
        raise ValueError(
            f"there is no SSH key file {path}: make one with 'ssh-keygen -t ed25519',"
            " name another, or use [] for none"
        )
    line = check_file(path).read_text(errors="replace").strip()
    if "PRIVATE KEY" in line:
        raise ValueError(f"{path} is a private key: name the file that ends in .pub")
    if not KEY_LINE.fullmatch(line):
        raise ValueError(f"{path} does not hold one OpenSSH public key")
    return line


SizeMib = Annotated[int, BeforeValidator(parse_size_mib)]
Url = Annotated[str, AfterValidator(check_url)]
User = Annotated[str, AfterValidator(check_user)]
Timezone = Annotated[str, AfterValidator(check_timezone)]
SshKey = Annotated[str, BeforeValidator(read_ssh_key)]
FilePath = Annotated[Path, BeforeValidator(resolve_path), AfterValidator(check_file)]
AnyPath = Annotated[Path, BeforeValidator(resolve_path)]
Hostname = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Section(BaseModel):
    """A table of cube.toml: no unknown keys, no conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class Image(Section):
    """What is built. `disk_size` is in MiB."""

    name: Name = "vault-cube"
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?$")] = "0.1.0"
    os: OsName = "debian-13"
    disk_size: Annotated[SizeMib, Field(ge=6 * 1024, le=16 * 1024 * 1024)] = "16 GiB"  # type: ignore[assignment]
    hostname: Hostname = "cube"
    locale: Annotated[str, Field(pattern=r"^[a-z]{2,3}_[A-Z]{2}\.UTF-8$|^C\.UTF-8$")] = (
        "en_US.UTF-8"
    )
    timezone: Timezone = "Etc/UTC"


class Admin(Section):
    """The account that people log in with. `ssh_keys` holds public key lines."""

    user: User = "cube"
    ssh_keys: tuple[SshKey, ...] = ()


class Layers(Section):
    """Which layers are applied, and which roles of each."""

    enabled: tuple[int, ...] = (1, 2, 3, 4, 5)
    layer1: tuple[str, ...] = LAYER_ROLES[1]
    layer2: tuple[str, ...] = LAYER_ROLES[2]
    layer3: tuple[str, ...] = LAYER_ROLES[3]
    layer4: tuple[str, ...] = LAYER_ROLES[4]
    layer5: tuple[str, ...] = LAYER_ROLES[5]

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_layers(self.enabled)
        for number in LAYER_ROLES:
            check_roles(number, self.roles(number))
        return self

    def roles(self, layer: int) -> tuple[str, ...]:
        """Return the roles of a layer, in the order of the file."""
        roles: tuple[str, ...] = getattr(self, f"layer{layer}")
        return roles


def check_layers(enabled: tuple[int, ...]) -> None:
    """Refuse unknown and repeated layers, none at all, and a stack without its foundation."""
    if not enabled:
        raise ValueError("enabled is empty: name at least layer 1")
    for number in enabled:
        if number not in LAYER_ROLES:
            raise ValueError(f"there is no layer {number}: choose from 1 to 5")
        if enabled.count(number) > 1:
            raise ValueError(f"layer {number} is listed twice: name it once")
    if 1 not in enabled:
        raise ValueError("every layer stands on layer 1: add 1")
    driver, *users = GPU_LAYERS
    for number in users:
        if number in enabled and driver not in enabled:
            raise ValueError(f"layer {number} needs the driver of layer 2: add 2 or drop {number}")


def check_roles(layer: int, roles: tuple[str, ...]) -> None:
    """Refuse unknown and repeated roles."""
    for role in roles:
        if role not in LAYER_ROLES[layer]:
            known = ", ".join(LAYER_ROLES[layer])
            raise ValueError(f"layer{layer} has no role {role!r}: choose from {known}")
        if roles.count(role) > 1:
            raise ValueError(f"layer{layer} lists the role {role!r} twice: name it once")


class Gpu(Section):
    """What the machine is expected to carry."""

    mode: Literal["auto", "assume", "skip"] = "auto"
    count: Annotated[int, Field(ge=1, le=16)] = 4
    memory_mib: Annotated[int, Field(ge=1024)] = 32000


class Docker(Section):
    """Where Docker Engine comes from."""

    source: Literal["distribution", "docker"] = "distribution"


class Network(Section):
    """How the world is reached while building, and by the image."""

    ca_certificates: Literal["host", "none"] | tuple[FilePath, ...] = "host"
    keep_ca_certificates: bool = False
    proxy: Url = ""
    apt_mirror: Url = ""
    pypi_index: Url = ""
    ntp_servers: tuple[str, ...] = ()


class Build(Section):
    """How this machine builds. `memory` is in MiB."""

    dir: AnyPath = "build"  # type: ignore[assignment]
    machine: Literal["auto", "vm", "container"] = "auto"
    libvirt_uri: Annotated[str, Field(min_length=1)] = "qemu:///embed"
    cpus: Annotated[int, Field(ge=1, le=256)] = 2
    memory: Annotated[SizeMib, Field(ge=1024)] = "2 GiB"  # type: ignore[assignment]
    refresh: Annotated[str, AfterValidator(check_refresh)] = "1 day"
    keep_chains: Annotated[int, Field(ge=1)] = 3


class Ubuntu(Section):
    """The installer of the Ubuntu image, and its JSON schema where there is a copy of it."""

    iso_url: Annotated[Url, Field(min_length=1)]
    iso_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    autoinstall_schema: FilePath | Literal[""] = ""


class Debian(Section):
    """The bootstrap of the Debian image."""

    kernel: Literal["generic", "cloud"] = "generic"


class OsTable(Section):
    """What only one of the operating systems needs."""

    ubuntu: Ubuntu | None = Field(default=None, alias="ubuntu-24.04")
    debian: Debian = Field(default=Debian(), alias="debian-13")


class Host(Section):
    """A machine on the network that layers are applied to."""

    address: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: str = "cube"
    key: AnyPath | None = None


class Spec(Section):
    """All of cube.toml. `file` is where it was read."""

    file: Path
    image: Image = Image()
    admin: Admin = Admin()
    layers: Layers = Layers()
    gpu: Gpu = Gpu()
    docker: Docker = Docker()
    network: Network = Network()
    build: Build
    os: OsTable = OsTable()
    hosts: dict[Name, Host] = {}

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
