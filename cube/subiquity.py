"""The format of Ubuntu's unattended installation, as strict as the installer is not.

The installer ignores what it does not know and only warns; here an unknown key is a mistake.
Source: canonical/subiquity, doc/reference/autoinstall-reference.rst.
"""

from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cube.packer import seed

Commands = list[str | list[str]]


class Strict(BaseModel):
    """A mapping without unknown keys or conversions; keys are written with dashes."""

    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=lambda name: name.replace("_", "-")
    )


class Match(Strict):
    """Interfaces by pattern: a name would pin the image to one machine."""

    name: str = Field(pattern=r"[*?]")


class Ethernet(Strict):
    """A group of network interfaces."""

    match: Match
    dhcp4: bool


class Network(Strict):
    """netplan, nested once."""

    version: Literal[2]
    ethernets: dict[str, Ethernet] = Field(min_length=1)


class Keyboard(Strict):
    """Layout of the console's keyboard."""

    layout: str


class Mirror(Strict):
    """One candidate for the archive."""

    uri: str = Field(pattern=r"^https?://")


class MirrorSelection(Strict):
    """Candidates for the archive, in their order."""

    primary: list[Mirror] = Field(min_length=1)


class SecurityMirror(Strict):
    """The archive of security updates for every architecture that is not named."""

    arches: tuple[Literal["default"]] = Field(strict=False)
    uri: str = Field(pattern=r"^https?://")


class Apt(Strict):
    """Where packages come from. `fallback` and `geoip` must be said: their defaults surprise."""

    # These two are written with underscores by the installer's own format.
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        alias_generator=lambda name: name.replace("_", "-") if "selection" in name else name,
    )

    geoip: Literal[False]
    fallback: Literal["abort", "continue-anyway", "offline-install"]
    mirror_selection: MirrorSelection | None = None
    security: list[SecurityMirror] | None = Field(default=None, min_length=1)


class Layout(Strict):
    """A guided partitioning."""

    name: Literal["lvm", "direct", "zfs"]
    sizing_policy: Literal["scaled", "all"] = "scaled"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name == "lvm" and self.sizing_policy != "all":
            raise ValueError("sizing-policy must be all: scaled leaves the group half empty")
        return self


class Storage(Strict):
    """What the disk looks like."""

    layout: Layout


class Ssh(Strict):
    """The SSH server of the installed system."""

    install_server: Literal[True]
    allow_pw: Literal[False]


class Identity(Strict):
    """An account made by the installer; it always has a password."""

    username: str
    hostname: str
    password: str = Field(pattern=r"^\$[0-9a-z]+\$")
    realname: str = ""


class RefreshInstaller(Strict):
    """Whether the installer replaces itself first: it would no longer be the ISO's."""

    update: Literal[False]


class Autoinstall(Strict):
    """The sections that we use."""

    version: Literal[1]
    refresh_installer: RefreshInstaller
    locale: str
    keyboard: Keyboard
    timezone: str
    network: Network
    proxy: Annotated[str, Field(pattern=r"^https?://")] | None = None
    apt: Apt
    storage: Storage
    ssh: Ssh
    packages: list[str] = []
    updates: Literal["security", "all"]
    shutdown: Literal["poweroff"]
    identity: Identity | None = None
    user_data: seed.UserData | None = None
    early_commands: Commands = []
    late_commands: Commands = Field(min_length=1)
    error_commands: Commands = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.identity is None and self.user_data is None:
            raise ValueError("identity or user-data is required: nobody could log in")
        return self


class UserData(Strict):
    """The whole file: one key."""

    autoinstall: Autoinstall


def check_user_data(text: str) -> list[str]:
    """Return what is wrong with the installer's answers; nothing when they are right."""
    if not text.startswith(seed.HEADER):
        return [f"first line: must be {seed.HEADER.strip()!r}, cloud-init ignores it otherwise"]
    try:
        UserData.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        return [f"not valid YAML: {error}"]
    except ValidationError as error:
        return seed.problems(error)
    return []
