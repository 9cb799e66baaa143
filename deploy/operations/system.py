"""The system's own settings: names, locale, time zone, kernel."""

import shlex
from collections.abc import Generator, Mapping, Sequence

from pyinfra import host
from pyinfra.api import operation

from deploy.facts.system import Hostnames, KernelSettings, Locales, Missing


@operation()
def hostname(hostname: str) -> Generator[str, None, None]:
    """Name the host, now and at boot, and let it find itself (or sudo complains).

    Args:
        hostname: without a domain.
    """
    known = [*host.get_fact(Hostnames), "", "", ""]
    stored, running, hosts = known[:3]
    if stored != hostname:
        yield f"echo {hostname} > /etc/hostname"
    if running != hostname:
        yield f"hostname {hostname}"
    if hostname not in hosts.split():
        yield (
            "sed -i '/^127\\.0\\.1\\.1[[:space:]]/d' /etc/hosts"
            f" && echo '127.0.1.1 {hostname}' >> /etc/hosts"
        )


@operation()
def locale(locale_name: str) -> Generator[str, None, None]:
    """Generate a locale. C.UTF-8 is part of the C library.

    Args:
        locale_name: "en_US.UTF-8".
    """
    known = host.get_fact(Locales)
    if locale_name == "C.UTF-8" or locale_name.replace("UTF-8", "utf8") in known:
        host.noop(f"{locale_name} is generated")
        return
    # The others in the file stay: locale-gen removes what it does not name.
    yield f"printf '\\n%s\\n' '{locale_name} UTF-8' >> /etc/locale.gen && locale-gen"


@operation()
def made_by(files: Sequence[str], unit: str) -> Generator[str, None, None]:
    """Start a unit that makes files, where one is missing.

    Args:
        files: what it makes.
        unit: it makes them when it starts, and ends.
    """
    if host.get_fact(Missing, paths=tuple(files)):
        yield f"systemctl start {unit}"


@operation()
def kernel_settings(values: Mapping[str, str]) -> Generator[str, None, None]:
    """Set running kernel settings, those that can be set here.

    Args:
        values: name, "vm.swappiness", and value.
    """
    running = host.get_fact(KernelSettings, names=tuple(values))
    wrong = [name for name, value in running.items() if value.split() != values[name].split()]
    if wrong:
        yield "sysctl -q -w " + " ".join(shlex.quote(f"{name}={values[name]}") for name in wrong)


def parse_settings(text: str) -> dict[str, str]:
    """Read a sysctl.d file: ``name = value`` lines, comments and empty lines."""
    lines = [line for line in text.splitlines() if line.strip() and line[0] not in "#;"]
    pairs = [line.split("=", 1) for line in lines]
    return {name.strip(): value.strip() for name, value in pairs}
