"""What a unit says of itself: its board, its serial numbers, its layers."""

from dataclasses import dataclass

from cube.hosts import record, remote
from cube.hosts.record import Record
from cube.hosts.target import Box
from cube.runtime import documents

#: What is read of the firmware's tables. Source: the kernel's drivers/firmware/dmi-id.c
FIELDS = (
    "sys_vendor", "product_name", "product_serial", "product_uuid", "board_name", "board_serial",
    "bios_version",
)  # fmt: skip

SCRIPT = f"""
cd /sys/class/dmi/id 2>/dev/null || exit 0
for field in {" ".join(FIELDS)}; do
    [ -r "$field" ] && printf '%s\\t%s\\n' "$field" "$(cat "$field")"
done
exit 0
"""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A box as a thing: what its firmware says, and which image and layers it carries.

    Args:
        firmware: `FIELDS` that it has, by name.
        image: name and version that the box gives its image.
        layers: what it claims.
    """

    firmware: dict[str, str]
    image: dict[str, str]
    layers: Record


def look(box: Box) -> Unit:
    """Read what a box says of itself.

    Raises:
        DriftError: it claims no layer.
        MachineError: it does not let us in.
    """
    release = remote.execute(box, "cat /etc/cube/release.json 2>/dev/null || echo '{}'").stdout
    return Unit(
        firmware=parse_firmware(remote.execute(box, SCRIPT).stdout),
        image=parse_image(release),
        layers=record.require(box),
    )


def parse_firmware(text: str) -> dict[str, str]:
    """Read lines of a name, a tab and a value; one that is not filled in is left out."""
    pairs = (line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    return {name: value.strip() for name, value in pairs if value.strip()}


def parse_image(text: str) -> dict[str, str]:
    """Read /etc/cube/release.json; empty when it is missing or damaged."""
    try:
        data = documents.parse(text)
        return {name: str(data[name]) for name in ("name", "version")}
    except (ValueError, KeyError, TypeError):
        return {}
