"""NVIDIA's archives by stand-ins of the integration tests on loopback, for layers 2 and 3.

The packages have NVIDIA's names and little in them, so the seconds are those of the chain, of apt
and of DKMS with a small module, not of a download.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cube.runtime import log, run
from cube.runtime.errors import CubeError
from tests.integration import server, standin

#: Layer 4 is frameworks alone; a stand-in of CUDA has no compiler for the checks of its role.
LAYERS = '[1, 2, 3, 5]\nlayer2 = ["nvidia_driver"]'


@contextlib.contextmanager
def served(folder: Path) -> Iterator[dict[str, str]]:
    """Make the archives in a new folder and serve them; yield what cube.toml must say, by key.

    Raises:
        CommandError: a tool failed; gcc, dpkg-dev and gpg are needed.
    """
    driver, toolkit = folder / "driver", folder / "toolkit"
    with log.step("Making the stand-ins"):
        program = Path(standin.__file__).with_name("standin_driver.sh")
        known = run.run(["bash", program, driver]).stdout.split()[-1]
        key = standin.Key.make(folder / "gnupg")
        packages = standin.toolkit("1.20.0")  # of the profile `cube`
        standin.Archive(toolkit / "stable/deb/amd64", key).publish(packages)
        (toolkit / "gpgkey").write_text(key.export())
        key.close()
    with server.serve(driver) as drivers, server.serve(toolkit) as toolkits:
        yield {
            "enabled": LAYERS, "mode": '"assume"',
            "nvidia_url": f'"{drivers.url}"', "nvidia_fingerprint": f'"{known}"',
            "toolkit_url": f'"{toolkits.url}"', "toolkit_fingerprint": f'"{key.fingerprint}"',
        }  # fmt: skip


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
