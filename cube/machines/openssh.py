"""What OpenSSH's configuration says of a host: OpenSSH itself reads it, Include and Match too."""

from dataclasses import replace

from cube.machines import Endpoint
from cube.machines.address import Address, plain_endpoint
from cube.runtime import run

#: Values of StrictHostKeyChecking that refuse a host key that is not known. Source: readconf.c
STRICT = ("true", "yes")


def resolve(found: Address) -> Endpoint:
    """Return where an address is reached, as OpenSSH's configuration says.

    Which keys, agents, certificates and proxies there are stays with OpenSSH, which the alias has
    look them up at each login: ``ssh -G`` prints them with tokens that it does not expand.

    Raises:
        CommandError: OpenSSH cannot read its configuration; the output says where.
    """
    plain = plain_endpoint(found)
    if not found.config:
        return plain
    settings = parse_settings(run.run(settings_args(found)).stdout)
    return replace(
        plain,
        host=settings["hostname"],
        port=int(settings["port"]),
        user=settings["user"],
        alias=found.host,
        strict=settings.get("stricthostkeychecking") in STRICT,
    )


def settings_args(found: Address) -> list[str]:
    """Build the command that prints OpenSSH's settings for an address. Source: ssh(1), -G."""
    port = ["-p", str(found.port)] if found.port else []
    user = ["-l", found.user] if found.user else []
    return ["ssh", "-G", *port, *user, "--", found.host]


def parse_settings(text: str) -> dict[str, str]:
    """Read ``name value`` lines; of a name that comes several times, the first one counts."""
    settings: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        settings.setdefault(name, value)
    return settings
