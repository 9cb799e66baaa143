"""The answers for Ubuntu's installer, as strict as the installer is not.

What the installer refuses is refused here, so that a mistake is found in stage 1 and not in a
virtual machine. Some of what it accepts is refused too: what it would ignore, what would fail
later, and what makes another image than ours. Each such message says why.

Source: canonical/subiquity, branch ubuntu/noble, commit 7639acf: the controllers' schemas and
`load_autoinstall_data`; its documentation, doc/reference/autoinstall-reference.rst.
"""

from typing import Annotated, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from cube.baseimage.packer import seed
from cube.baseimage.ubuntu import autoinstall_values as values
from cube.baseimage.ubuntu.storage_model import Storage

Commands = list[values.Command]

#: Why a section or a key of it is refused what the installer accepts: sections that this image
#: does not use, and values that it must have.
REASONS = {
    "active-directory": "no box joins a domain while it is installed",
    "codecs": "the layers install all packages",
    "debconf-selections": "no package of the installation asks a question",
    "drivers": "layer 2 installs the driver that fits the stack",
    "interactive-sections": "nobody is there to answer",
    "kernel": "the ISO's kernel is used, and layer 2 chooses modules for it",
    "oem": "the image is for boxes of any maker",
    "reporting": "progress is read from the serial line",
    "snaps": "the layers install all packages",
    "source": "the ISO's default system is used",
    "ubuntu-advantage": "a token would be in every clone",
    "ubuntu-pro": "a token would be in every clone",
    "zdevs": "they are devices of IBM Z",
    "apt": "the layers configure apt",
    "apt.fallback": "its default is another one with each installer",
    "apt.geoip": "the installer would ask the internet where it is",
    "apt.mirror-selection": "a mirror is named by its address, for every machine",
    "apt.security": "it serves the machines of this image",
    "identity": "the installer asks for a name, a host name and a password's hash",
    "keyboard": "the console has a layout and a variant, and no key to change them",
    "network": "interfaces are matched by a pattern, for any machine, and ask DHCP",
    "refresh-installer": "only the ISO's own installer is tested",
    "shutdown": "a reboot would start the installer again",
    "ssh": "the build logs in with its key, nobody with a password",
    "storage": "the disk has one shape, see docs/how-it-works.md",
    "updates": "write which updates the base gets",
    "user-data": "cloud-init makes one account with a key, the layers the rest",
    "version": "the format has one version, a whole number",
}


class Strict(BaseModel):
    """A mapping without unknown keys or conversions; keys are written with dashes."""

    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=lambda name: name.replace("_", "-")
    )


class Match(Strict):
    """Interfaces by pattern: a name would pin the image to one machine."""

    name: values.Pattern


class Ethernet(Strict):
    """A group of network interfaces."""

    match: Match
    dhcp4: bool


class Network(Strict):
    """netplan, nested once."""

    version: Annotated[int, Field(ge=2, le=2)]
    ethernets: dict[values.NetplanId, Ethernet] = Field(min_length=1)


class Keyboard(Strict):
    """Layout of the console's keyboard, and its variant."""

    layout: str
    variant: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        values.check_keyboard(self.layout, self.variant)
        return self


class Mirror(Strict):
    """One candidate for the archive."""

    uri: values.ArchiveUri


class SecurityMirror(Strict):
    """The archive of security updates."""

    arches: values.Arches
    uri: values.ArchiveUri


class MirrorSelection(Strict):
    """Candidates for the archive, in their order."""

    primary: list[Annotated[Mirror, values.NoCountry]] = Field(min_length=1)


class Apt(Strict):
    """Where packages come from. `fallback` and `geoip` must be said: their defaults surprise."""

    geoip: Literal[False]
    fallback: Literal["abort", "continue-anyway", "offline-install"]
    mirror_selection: MirrorSelection | None = None
    security: Annotated[list[SecurityMirror], Field(min_length=1)] | None = None


class Ssh(Strict):
    """The SSH server of the installed system."""

    install_server: Literal[True]
    allow_pw: Literal[False]


class Identity(Strict):
    """An account made by the installer; it always has a password."""

    username: values.Account
    hostname: values.Hostname
    password: values.CryptedPassword
    realname: values.RealName = ""


class RefreshInstaller(Strict):
    """Whether the installer replaces itself first: it would no longer be the ISO's."""

    update: Literal[False]


def check_accounts(data: seed.UserData) -> seed.UserData:
    """Accept accounts that cloud-init can make on a fresh system."""
    for user in data.users:
        values.check_account(user.name)
    return data


class Autoinstall(Strict):
    """The sections that we use."""

    version: Annotated[int, Field(ge=1, le=1)]
    refresh_installer: RefreshInstaller
    locale: values.Locale
    keyboard: Keyboard
    timezone: values.Timezone
    network: Network
    proxy: values.ProxyUri | None = None
    apt: Apt
    storage: Storage
    ssh: Ssh
    packages: list[values.Package] = []
    updates: Literal["security", "all"]
    shutdown: Literal["poweroff"]
    identity: Identity | None = None
    user_data: Annotated[seed.UserData, AfterValidator(check_accounts)] | None = None
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
        return problems(error)
    return []


def problems(error: ValidationError) -> list[str]:
    """Return a model's complaints, one line each: where, what and, where it is known, why."""
    lines = []
    for item in error.errors():
        place = ".".join(str(word) for word in item["loc"] if word != "[key]") or "top"
        what = WORDS.get(item["type"], item["msg"].removeprefix("Value error, "))
        reason = find_reason(item["type"], place.removeprefix("autoinstall."))
        lines.append(": ".join(filter(None, (place, what, reason))))
    return lines


#: Kinds of complaint that read better in other words than pydantic's.
WORDS = {
    "bool_type": "write true or false",
    "dict_type": "write a mapping",
    "extra_forbidden": "not accepted",
    "int_type": "write a whole number",
    "list_type": "write a list",
    "missing": "missing",
    "model_type": "write a mapping",
    "string_type": "write text",
    "union_tag_invalid": "unknown type of action",
    "union_tag_not_found": "an action needs a type",
}


def find_reason(kind: str, place: str) -> str:
    """Return why a place of the answers is refused what it has; empty when the error says it."""
    if kind == "value_error":
        return ""
    words = place.split(".")
    prefixes = (".".join(words[:count]) for count in range(len(words), 0, -1))
    known = next((REASONS[prefix] for prefix in prefixes if prefix in REASONS), "")
    if kind == "extra_forbidden" and not known:
        return "the installer does not know this key, and will refuse it one day"
    return known
