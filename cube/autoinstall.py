"""Ubuntu's unattended installation: the answers for the installer."""

import json
import shlex
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

from cube import conventions, mirrors, shape
from cube.machines.seed import build_seed
from cube.machines.seed import render_user_data as render_seed
from cube.packer import seed
from cube.spec import Spec, security_mirror
from cube.subiquity import check_user_data

__all__ = ["INSTALLED", "check_schema", "check_user_data", "render_user_data"]

#: What the last late-command leaves on the disk: only a whole installation has it.
INSTALLED = "installed"
#: Run in a finished system: presets then say what its units are.
PRESETS = Path(__file__).with_name("presets.sh")
#: The root that the lvm layout makes. initramfs-tools activates a volume by this name.
#: Source: subiquity's names of group and volume.
ROOT_DEVICE = "/dev/mapper/ubuntu--vg-ubuntu--lv"


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
        "apt": apt(spec),
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


def apt(spec: Spec) -> dict[str, Any]:
    """Return where packages come from; a mirror that cannot be reached is an error.

    The installer takes security updates from Ubuntu itself unless it is told of a mirror for them,
    too. Source: curtin, doc/topics/apt_source.rst, "security".
    """
    answer: dict[str, Any] = {"geoip": False, "fallback": "abort"}
    if mirror := spec.network.apt_mirror:
        answer["mirror-selection"] = {"primary": [{"uri": mirror}]}
    if security := security_mirror(spec):
        answer["security"] = [{"arches": ["default"], "uri": security}]
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
        # The mirrors and the proxy are for building only. Source: curtin, commands/apt_config.py,
        # which keeps the sources that it replaces beside them.
        "rm -f /target/etc/apt/sources.list.d/* /target/etc/apt/sources.list.curtin.*",
        write_command(*mirrors.image_sources("ubuntu-24.04")),
        "rm -f /target/etc/apt/apt.conf.d/*proxy*"
        " /target/etc/systemd/system/snapd.service.d/snap_proxy.conf",
        *[write_command(name, text) for name, text in files.items()],
        "chmod 600 /target/etc/netplan/*.yaml",
        f"tune2fs -L {shape.ROOT_LABEL} $(findmnt --noheadings --output SOURCE /target)",
        rf"sed -i -E 's|^[^#]\S*\s+/\s|LABEL={shape.ROOT_LABEL} / |' /target/etc/fstab",
        f"grep -q '^LABEL={shape.ROOT_LABEL} / ' /target/etc/fstab",
        "curtin in-target -- update-grub",
        f"curtin in-target -- sh -c {shlex.quote(PRESETS.read_text())}",
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
        known = json.loads(schema.read_text(encoding="utf-8"))
        if not isinstance(known, dict):
            raise TypeError(f"{known!r} is no object")
        Draft7Validator.check_schema(known)
        found = list(Draft7Validator(known).iter_errors(answers))
    except SchemaError as error:
        return [f"{schema}: not a JSON schema: {error.json_path}: {error.message}"]
    except (ValueError, TypeError, Unresolvable) as error:
        return [f"{schema}: not a JSON schema: {error}"]
    return [f"{error.json_path}: {error.message}" for error in found]
