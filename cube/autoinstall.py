"""Ubuntu's unattended installation: the answers, and a strict look at them.

The installer ignores what it does not know and only warns; here an unknown key is a mistake.
Source: canonical/subiquity, doc/reference/autoinstall-reference.rst.
"""

import shlex
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cube import conventions
from cube.machines.seed import build_seed
from cube.machines.seed import render_user_data as render_seed
from cube.packer import seed
from cube.spec import Spec

#: What the last late-command leaves on the disk: only a whole installation has it.
INSTALLED = "installed"
#: The root that the lvm layout makes. initramfs-tools activates a volume by this name.
#: Source: subiquity's names of group and volume.
ROOT_DEVICE = "/dev/mapper/ubuntu--vg-ubuntu--lv"

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


def render_user_data(spec: Spec, public_key: str) -> str:
    """Return the answers for the installer.

    Args:
        spec: locale, time zone, mirror, proxy and what the image is called.
        public_key: the build key's public line; no password is set anywhere.
    """
    answers = {
        "version": 1,
        "refresh-installer": {"update": False},
        "locale": spec.image.locale,
        "keyboard": {"layout": "us"},
        "timezone": spec.image.timezone,
        "network": yaml.safe_load(conventions.NETPLAN)["network"],
        **({"proxy": spec.network.proxy} if spec.network.proxy else {}),
        "apt": apt(spec.network.apt_mirror),
        "storage": {"layout": {"name": "lvm", "sizing-policy": "all"}},
        "ssh": {"install-server": True, "allow-pw": False},
        "packages": ["cloud-guest-utils", "qemu-guest-agent"],
        "updates": "security",
        "shutdown": "poweroff",
        "user-data": yaml.safe_load(render_seed(build_seed(public_key))),
        # Nobody logs in to the installer itself.
        "early-commands": ["systemctl stop ssh.socket ssh.service"],
        "late-commands": late_commands(spec),
        "error-commands": error_commands(),
    }
    return seed.HEADER + yaml.dump(
        {"autoinstall": answers}, Dumper=Blocks, sort_keys=False, width=1000
    )


def apt(mirror: str) -> dict[str, Any]:
    """Return where packages come from; a mirror that cannot be reached is an error."""
    answer: dict[str, Any] = {"geoip": False, "fallback": "abort"}
    if mirror:
        answer["mirror-selection"] = {"primary": [{"uri": mirror}]}
    return answer


def late_commands(spec: Spec) -> list[str]:
    """Return what turns a fresh installation into one of our bare images.

    They run in the installer, with the new system under /target. Each stops at its first error,
    and any error stops the installation: the mark at the end means that all went well.
    """
    files = conventions.files(spec, root_device=ROOT_DEVICE)
    return [
        # Its hooks also take away the installer's own settings, which switch cloud-init and the
        # growing of the root off. What remains of them would win over ours.
        "curtin in-target -- cloud-init clean --logs --seed",
        "rm -f /target/etc/cloud/cloud-init.disabled /target/etc/netplan/*.yaml"
        " /target/etc/cloud/cloud.cfg.d/*installer*.cfg"
        " /target/etc/cloud/cloud.cfg.d/*networking*.cfg"
        " /target/etc/cloud/cloud.cfg.d/*disable-cc-dpkg-grub.cfg"
        " /target/etc/cloud/cloud.cfg.d/curtin-preserve-sources.cfg",
        # The proxy is for building only.
        "rm -f /target/etc/apt/apt.conf.d/*proxy*"
        " /target/etc/systemd/system/snapd.service.d/snap_proxy.conf",
        *[write_command(name, text) for name, text in files.items()],
        "chmod 600 /target/etc/netplan/*.yaml",
        f"tune2fs -L {conventions.ROOT_LABEL} $(findmnt --noheadings --output SOURCE /target)",
        rf"sed -i -E 's|^[^#]\S*\s+/\s|LABEL={conventions.ROOT_LABEL} / |' /target/etc/fstab",
        f"grep -q '^LABEL={conventions.ROOT_LABEL} / ' /target/etc/fstab",
        "curtin in-target -- update-grub",
        "echo uninitialized >/target/etc/machine-id",
        f"mkdir -p /target/var/lib/cube && echo {INSTALLED} >/target/var/lib/cube/base && sync",
    ]


def write_command(name: str, content: str) -> str:
    """Return a shell command that writes a file below /target."""
    path = shlex.quote(f"/target/{name}")
    return f"mkdir -p $(dirname {path}) && cat >{path} <<'END-OF-FILE'\n{content}END-OF-FILE\n"


def error_commands() -> list[str]:
    """Return what is done when the installation fails: tell why on the console, and end."""
    return [
        "tail -n 60 /var/log/installer/subiquity-server-debug.log >/dev/ttyS0",
        "tail -n 30 /var/log/installer/curtin-install.log >/dev/ttyS0",
        "systemctl poweroff",
    ]


class Blocks(yaml.SafeDumper):
    """YAML in which text of several lines is readable."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Blocks.add_representer(str, _represent_text)
