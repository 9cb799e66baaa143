"""Presets that describe every unit of an image: a first boot then changes none.

systemd applies presets at a first boot, which is one whose machine-id is "uninitialized", and
what no preset names is enabled: nftables.service, whose start removes all rules of a firewall,
ssh.socket, iscsid.service. Packages apply presets, too, when a unit is installed for the first
time; units that are not installed yet stay the distribution's affair.

Source: systemd.preset(5); machine-id(5), "First Boot Semantics"; deb-systemd-helper(1p).
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

#: Before every other preset. Source: systemd.preset(5): the first match wins.
FILE = "00-cube.preset"
#: Options of systemctl by the folder of units.
SCOPES = {"system": (), "user": ("--global",)}
#: Source: systemctl(1), "is-enabled"; masked, static and generated units and aliases are no
#: matter of presets.
DISABLED = ("disabled", "enabled-runtime", "indirect", "linked")
#: "getty@tty1.service": template, instance, type.
INSTANCE = re.compile(r"([^/@]+@)([^/]+)(\.[a-z]+)")
TITLE = "# What each unit is in this image, or a first boot would change some of them.\n"

Systemctl = Callable[..., str]


def write(root: Path, systemctl: Systemctl) -> None:
    """Write the presets of a root.

    Args:
        root: a root that is not running.
        systemctl: runs the root's own systemctl in it with these arguments, and returns its
            output: versions judge presets differently.
    """
    for scope, options in SCOPES.items():
        listed = systemctl(
            "--root=/", *options, "--no-legend", "--no-pager", "--full", "list-unit-files"
        )
        folder = root / f"etc/systemd/{scope}-preset"
        folder.mkdir(parents=True, exist_ok=True)
        found = instances(root / "etc/systemd" / scope)
        (folder / FILE).write_text(render(listed, found))


def instances(folder: Path) -> dict[str, list[str]]:
    """Return the enabled instances of each template."""
    found: dict[str, set[str]] = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path, match = Path(place) / name, INSTANCE.fullmatch(name)
            if match and path.is_symlink() and path.readlink() != Path("/dev/null"):
                found.setdefault(match[1] + match[3], set()).add(match[2])
    return {template: sorted(names) for template, names in found.items()}


def render(listed: str, enabled: dict[str, list[str]]) -> str:
    """Return a preset file.

    Args:
        listed: what ``systemctl list-unit-files`` prints: a unit and its state a line.
        enabled: instances by template; these lines come first.
    """
    lines = [f"enable {template} {' '.join(enabled[template])}" for template in sorted(enabled)]
    for row in listed.splitlines():
        unit, state = row.split()[:2]
        if state == "enabled":
            lines.append(f"enable {unit}")
        elif state.startswith(DISABLED):
            lines.append(f"disable {unit}")
    return TITLE + "".join(f"{line}\n" for line in lines)
