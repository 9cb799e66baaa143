"""containerd's own settings."""

import tomllib
from collections.abc import Generator

from pyinfra import host, logger
from pyinfra.api import StringCommand, operation

from deploy.facts.containerd import CONFIG, Config, ContainerdConfig
from deploy.operations.files import put_atomic

#: Kubernetes' door to containerd, which opens a TCP port of loopback; Docker does not use it.
#: Source: containerd, docs/cri/config.md; containerd-config.toml(5), disabled_plugins.
CRI = "io.containerd.grpc.v1.cri"
LINE = f'disabled_plugins = ["{CRI}"]\n'
#: containerd reads the file before it replaces the old one, once there is a containerd.
VALIDATE = (
    "if command -v containerd >/dev/null; then containerd --config %s config dump >/dev/null; fi"
)
#: What a file begins with where the package brings none.
VERSION = "version = 2\n"


@operation()
def without_cri() -> Generator[StringCommand, None, None]:
    """Close Kubernetes' door to containerd, unless somebody has set containerd up by himself."""
    found: Config = host.get_fact(ContainerdConfig)
    if closes_cri(found.text):
        host.noop(f"{CONFIG} has no CRI")
        return
    if found.kubernetes:
        logger.warning(f"{host.print_prefix}{CONFIG} stays: kubelet needs containerd's CRI")
        return
    if found.text and not found.of_package:
        logger.warning(
            f"{host.print_prefix}{CONFIG} stays, somebody set it: containerd's CRI listens on a TCP"
            f" port of loopback unless it has {LINE.strip()}"
        )
        return
    content = added(found.text or VERSION)
    if not closes_cri(content):
        logger.warning(f"{host.print_prefix}{CONFIG} stays: {LINE.strip()} has no place in it")
        return
    yield from put_atomic._inner(
        dest=CONFIG, content=content, validate=VALIDATE, read_by="containerd.service"
    )


def closes_cri(text: str) -> bool:
    """Tell whether a configuration leaves the CRI out; Docker's own package calls it "cri"."""
    try:
        plugins = tomllib.loads(text).get("disabled_plugins", [])
    except tomllib.TOMLDecodeError:
        return False
    return any(str(name).rpartition(".")[2] == "cri" for name in plugins)


def added(text: str) -> str:
    """Return a configuration that leaves the CRI out: the line stands before every table."""
    lines = text.splitlines(keepends=True)
    version = next((at for at, line in enumerate(lines) if line.startswith("version")), -1)
    return "".join([*lines[: version + 1], LINE, *lines[version + 1 :]])
