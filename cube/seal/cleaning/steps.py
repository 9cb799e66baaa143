"""The order in which a disk is cleaned."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cube.disks import presets
from cube.runtime import log
from cube.runtime.errors import CommandError, SealError
from cube.seal.cleaning import build, identity, image, leftovers
from cube.seal.cleaning.image import Image
from cube.seal.cleaning.settings import Settings

#: Written last; a disk without it was not cleaned to the end. Below the root.
DONE = Path("var/lib/cube/sealed")

Step = Callable[[Image, Settings], None]


def keep_units(cleaned: Image, _: Settings) -> None:
    """Let presets describe the units, should anything make a boot a first boot."""
    presets.write(cleaned.tree.root, lambda *words: cleaned.run("systemctl", *words))


#: By name, in this order: checks come as early as they can fail, and logs and temporary files
#: last, because programs that run before write some.
STEPS: dict[str, Step] = {
    "swap": lambda at, _: leftovers.remove_swap(at.tree),
    "cloud-init": lambda at, _: leftovers.clean_cloud_init(at),
    "installer": lambda at, _: leftovers.clean_installer(at.tree),
    "network configuration": lambda at, _: identity.expect_network(at.tree),
    "resolvers": lambda at, _: identity.clean_resolvers(at.tree),
    "container engines": lambda at, settings: leftovers.clean_engines(at.tree, settings),
    "update timers": lambda at, _: build.restore_updates(at),
    "presets": keep_units,
    "build account": build.remove_user,
    "trust of the build": build.remove_trust,
    "homes": lambda at, _: leftovers.clean_homes(at.tree),
    "identity": lambda at, _: identity.clean_identity(at.tree),
    "seeds and secrets": lambda at, _: identity.clean_seeds(at.tree),
    "network state": lambda at, _: identity.clean_network_state(at.tree),
    "packages": lambda at, _: leftovers.clean_packages(at.tree),
    "remains of the build": build.expect_no_remains,
    "logs": lambda at, _: leftovers.clean_logs(at.tree),
    "temporary files": lambda at, _: leftovers.clean_scratch(at.tree),
}


def clean_disk(disk: Path, settings: Settings, work: Path) -> None:
    """Clean a disk, and mark it as clean.

    Args:
        disk: qcow2 file of a machine that is off.
        settings: what is removed and what stays.
        work: folder for what mounting needs.

    Raises:
        SealError: something cannot be cleaned, or remains of the build are left.
        MachineError: the disk cannot be mounted.
    """
    with image.opened(disk, work) as opened:
        clean(opened, settings)


def clean(opened: Image, settings: Settings) -> None:
    """Run every step on a mounted image, and write the mark.

    Raises:
        SealError: a step failed; it is named.
    """
    opened.tree.remove(str(DONE))
    for name, step in STEPS.items():
        log.status(f"cleaning: {name}")
        try:
            step(opened, settings)
        except (OSError, CommandError) as error:
            details = error.details if isinstance(error, CommandError) else ""
            raise SealError(
                f"the disk could not be cleaned: {name}: {error}",
                hint="correct the layer that leaves this behind",
                details=details,
            ) from error
    opened.tree.write(str(DONE), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ\n"))
