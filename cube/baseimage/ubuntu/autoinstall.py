"""Ubuntu's unattended installation: the answers for the installer."""

from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

from cube.baseimage import base_files
from cube.baseimage.packer import seed
from cube.baseimage.ubuntu import late_commands, storage_config
from cube.baseimage.ubuntu.autoinstall_model import check_user_data
from cube.baseimage.ubuntu.late_commands import INSTALLED
from cube.config import Spec
from cube.machines.seed import build_seed
from cube.machines.seed import render_user_data as render_seed
from cube.runtime import documents

__all__ = ["INSTALLED", "check_schema", "check_user_data", "render_user_data"]

#: GRUB for BIOS, and the chain that Secure Boot accepts; tools that grow the root.
PACKAGES = (
    "cloud-guest-utils",
    "grub-efi-amd64-signed",
    "grub-pc-bin",
    "grub2-common",
    "mokutil",
    "qemu-guest-agent",
    "shim-signed",
)
#: The installer must run under UEFI, because curtin installs the signed chain only then; and
#: nobody logs in to the installer itself. A failing command would end the installation, as
#: `systemctl stop` does for a unit that is not there.
EARLY = (
    "test -d /sys/firmware/efi ||"
    " { echo 'cube: the installer must run under UEFI' >/dev/ttyS0; exit 1; }",
    "systemctl stop ssh.socket ssh.service || true",
)


def render_user_data(spec: Spec, public_key: str) -> str:
    """Return the answers for the installer.

    Args:
        spec: locale, time zone, mirror, proxy and what the image is called.
        public_key: the build key's public line; no password is set anywhere.
    """
    layout = spec.image.disk_layout
    answers = {
        "version": 1,
        "refresh-installer": {"update": False},
        "locale": spec.image.locale,
        "keyboard": {"layout": "us"},
        "timezone": spec.image.timezone,
        "network": yaml.safe_load(base_files.NETPLAN)["network"],
        **({"proxy": spec.network.proxy} if spec.network.proxy else {}),
        "apt": apt(spec),
        "storage": {"swap": {"size": 0}, "config": storage_config.render(layout)},
        "ssh": {"install-server": True, "allow-pw": False},
        "packages": [*PACKAGES, *(["lvm2"] if layout == "lvm" else [])],
        "updates": "security",
        "shutdown": "poweroff",
        "user-data": yaml.safe_load(render_seed(build_seed(public_key))),
        "early-commands": list(EARLY),
        "late-commands": late_commands.late_commands(spec),
        "error-commands": error_commands(),
    }
    return seed.HEADER + yaml.dump(
        {"autoinstall": answers}, Dumper=Blocks, sort_keys=False, width=1000
    )


def apt(spec: Spec) -> dict[str, Any]:
    """Return where packages come from; a mirror that cannot be reached is an error."""
    answer: dict[str, Any] = {"geoip": False, "fallback": "abort"}
    if mirror := spec.network.apt_mirror:
        answer["mirror-selection"] = {"primary": [{"uri": mirror}]}
    if mirror := late_commands.security_mirror(spec):
        answer["security"] = [{"arches": ["default"], "uri": mirror}]
    return answer


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


def check_schema(text: str, schema: Path) -> list[str]:
    """Return where the answers do not fit the installer's own JSON schema.

    The schema (autoinstall-schema.json of canonical/subiquity) is GPL-3.0, so it is read from
    where the user has it. It lets much pass that fails later; `check_user_data` is the strict one.

    Args:
        text: the user-data.
        schema: file with the JSON schema.
    """
    answers = yaml.safe_load(text)["autoinstall"]
    try:
        known = documents.parse(schema.read_text(encoding="utf-8"))
        if not isinstance(known, dict):
            raise TypeError(f"{known!r} is no object")
        Draft7Validator.check_schema(known)
        found = list(Draft7Validator(known).iter_errors(answers))
    except SchemaError as error:
        return [f"{schema}: not a JSON schema: {error.json_path}: {error.message}"]
    except (ValueError, TypeError, Unresolvable) as error:
        return [f"{schema}: not a JSON schema: {error}"]
    return [f"{error.json_path}: {error.message}" for error in found]
