"""The operating systems that the roles know."""

from pyinfra import host
from pyinfra.api.exceptions import DeployError

from deploy.facts.system import OsName

#: cube.toml's names, with the name of the release in package archives.
CODENAMES = {"debian-13": "trixie", "ubuntu-24.04": "noble"}


def check() -> str:
    """Return the current host's operating system.

    Raises:
        DeployError: the roles were not written for it.
    """
    name: str = host.get_fact(OsName)
    if name not in CODENAMES:
        raise DeployError(f"{host.name} runs {name}: the roles know {' and '.join(CODENAMES)}")
    return name
