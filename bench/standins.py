"""NVIDIA's archives, by stand-ins on loopback: layers 2 and 3 as simulated evidence.

The packages are those of the integration tests: they have NVIDIA's names and little in them. So
the seconds are those of the chain, of apt and of DKMS with a small module, not of a download.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cube.runtime import log, run
from cube.runtime.errors import CubeError
from tests.integration import server, standin

SCRIPT = Path(standin.__file__).with_name("standin_driver.sh")
#: Of the profile `cube`.
TOOLKIT = "1.20.0"
#: Layer 4 is frameworks alone; a stand-in of CUDA has no compiler for the checks of its role.
LAYERS = '[1, 2, 3, 5]\nlayer2 = ["nvidia_driver"]'


@dataclass(frozen=True)
class Standins:
    """Archives that are served.

    Args:
        drivers: who serves those of layer 2.
        values: what cube.toml must say, by key.
    """

    drivers: server.Server
    values: Mapping[str, str]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Standins]:
    """Make the archives and serve them while the block runs.

    Args:
        folder: a new one.

    Raises:
        CommandError: a tool failed; gcc, dpkg-dev and gpg are needed.
    """
    driver, toolkit = folder / "driver", folder / "toolkit"
    with log.step("Making the stand-ins"):
        known = run.run(["bash", SCRIPT, driver]).stdout.split()[-1]
        key = standin.Key.make(folder / "gnupg")
        standin.Archive(toolkit / "stable/deb/amd64", key).publish(standin.toolkit(TOOLKIT))
        (toolkit / "gpgkey").write_text(key.export())
        key.close()
    with server.serve(driver) as drivers, server.serve(toolkit) as toolkits:
        values = {
            "enabled": LAYERS,
            "mode": '"assume"',
            "nvidia_url": f'"{drivers.url}"',
            "nvidia_fingerprint": f'"{known}"',
            "toolkit_url": f'"{toolkits.url}"',
            "toolkit_fingerprint": f'"{key.fingerprint}"',
        }
        yield Standins(drivers, values)


def rewrite(text: str, values: Mapping[str, str]) -> str:
    """Return a cube.toml with other values of keys that it has, and that no two tables have.

    Raises:
        CubeError: a key is not there just once.
    """
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^{key} = [^#\n]*", f"{key} = {value} ", text)
        if count != 1:
            raise CubeError(
                f"cube.toml has {count} lines with {key!r}: one is needed for the stand-ins",
                hint="give --spec a cube.toml that is made like the shipped one",
            )
    return text
