"""What packages need that takes long, done beside the operations that come next.

A later operation of the same run waits for each. `apt.install` and `apt.load_ahead` use the
commands that are here.
"""

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation

from deploy.facts import apt as facts
from deploy.operations import beside

#: The package whose trigger takes longest by far, seconds of a processor; nothing in a layer
#: waits for it, and a second processor has nothing else to do.
INITRAMFS = "initramfs-tools"
UNIT = "cube-initramfs.service"
#: Seconds for an initramfs, without KVM too.
INITRAMFS_S = 1800
STATES = f"dpkg-query --show --showformat '{facts.STATES}'"
DPKG = "dpkg --force-confdef --force-confold --no-triggers"
#: Configure what was unpacked and run the triggers, that of the initramfs beside what comes next.
#: dpkg notes what is due: its next run makes good what a crash left undone. With --pending it
#: would run the triggers of packages that need nothing else, in spite of --no-triggers.
#: Source: apt.conf(5), DPkg::ConfigurePending; dpkg(1), --triggers-only.
CONFIGURE = (
    f"{STATES} | sed -nE 's/^(unpacked|half-configured) //p'"
    f" | DEBIAN_FRONTEND=noninteractive xargs -r {DPKG} --configure"
    f" && {STATES} | sed -n 's/^triggers-pending //p' | grep -vx {INITRAMFS}"
    f" | DEBIAN_FRONTEND=noninteractive xargs -r {DPKG} --triggers-only"
    f" && if {STATES} | grep -qx 'triggers-pending {INITRAMFS}'; then"
    f" systemd-run --quiet --collect --unit={UNIT} dpkg --triggers-only {INITRAMFS}; fi"
)

#: Where packages are loaded that a later operation of the same run will install.
AHEAD, AHEAD_UNIT = "/var/cache/apt/cube-ahead", "cube-ahead.service"
#: Seconds for that: gigabytes on a slow line.
AHEAD_S = 3600
#: Wait for them, and put them where apt looks for what it has loaded; what is missing, apt loads.
TAKE = (
    f"if test -d {AHEAD}; then {beside.wait(AHEAD_UNIT, AHEAD_S)};"
    f" systemctl stop {AHEAD_UNIT} 2>/dev/null;"
    f" find {AHEAD} -maxdepth 1 -name '*.deb' -exec mv -t /var/cache/apt/archives {{}} +;"
    f" rm -rf {AHEAD}; fi"
)
#: Nobody needs them any more: end what may still load, and make room.
FORGET = f"systemctl stop {AHEAD_UNIT} 2>/dev/null; rm -rf {AHEAD}"


@operation()
def settle() -> Generator[str, None, None]:
    """Wait until dpkg has nothing left to do; what did not run beside us, or failed, runs here."""
    if not host.get_fact(facts.Unsettled, unit=UNIT):
        host.noop("dpkg has nothing left to do")
        return
    yield (
        f"{beside.wait(UNIT, INITRAMFS_S)} || {{ echo 'the initramfs was not made in"
        f" {INITRAMFS_S} s: systemctl status {UNIT}' >&2; exit 1; }};"
        " DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold"
        " --configure --pending"
    )
