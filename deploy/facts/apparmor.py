"""AppArmor's cache: profiles compiled for one kernel."""

from typing import Literal

from pyinfra.api import FactBase

#: What the kernel that the image boots says of its AppArmor, copied at its first boot.
#: Source: packer/prove.py; apparmor_parser(8), --kernel-features
FEATURES = "/usr/share/cube/apparmor-features"
PROFILES = "/etc/apparmor.d"

State = Literal["unknown", "stale", "current"]


class Cache(FactBase[State]):
    """Whether every profile is compiled for the kernel that the image boots.

    `unknown` where nothing is known of that kernel.
    """

    def command(self) -> str:
        """Compare when profiles came with when they were compiled."""
        return f"""
if [ ! -d {FEATURES} ]; then
    echo unknown
elif cache=$(apparmor_parser --kernel-features {FEATURES} --print-cache-dir 2>/dev/null) &&
    [ -e "$cache/.features" ] &&
    [ -z "$(find {PROFILES} -type f -cnewer "$cache/.features" -print -quit)" ]
then
    echo current
else
    echo stale
fi"""

    @staticmethod
    def default() -> State:
        """Return that nothing is known."""
        return "unknown"

    def process(self, output: list[str]) -> State:
        """Read the word."""
        word = output[-1].strip() if output else "unknown"
        return "current" if word == "current" else "stale" if word == "stale" else "unknown"
