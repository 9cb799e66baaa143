"""Docker's daemon and its images."""

import json
import shlex
import tarfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyinfra import host, logger
from pyinfra.api import OperationValueError, StringCommand, operation
from pyinfra.api.command import FileUploadCommand

from deploy.facts.docker import (
    DAEMON,
    NOTED,
    Daemon,
    DockerDaemon,
    DockerEngines,
    DockerImages,
    DockerSurroundings,
    Settings,
)
from deploy.operations import beside, containers, docker_settings, trial
from deploy.operations.files import put_script

#: The daemon reads the file before it replaces the old one, once there is a daemon.
VALIDATE = "if command -v dockerd >/dev/null; then dockerd --validate --config-file=%s; fi"
#: docker.source by the package of the engine.
SOURCES = {"docker.io": "distribution", "docker-ce": "docker"}
#: Where an archive lies until it is loaded.
INCOMING = "/var/lib/cube/incoming-image.tar"
#: Attempts at a registry, and seconds between them.
ATTEMPTS, PAUSE_S = 3, 5
#: What pulls images beside the operations that come next, and seconds for that: gigabytes.
AHEAD_UNIT, AHEAD_S = "cube-images.service", 3600
#: Wait for it; what has not come by then is pulled anew.
TAKE = f"{beside.wait(AHEAD_UNIT, AHEAD_S)}; systemctl stop {AHEAD_UNIT} 2>/dev/null;"


@operation()
def settings(role: str, wanted: Settings) -> Generator[StringCommand, None, None]:
    """Add settings to Docker's file; what somebody else has put there stays.

    A value that differs from the wanted one is replaced only when the role had written it
    itself, at an earlier application. Otherwise it stays, and is told; so is what has no place
    beside the others (see `docker_settings`).

    Args:
        role: whose settings they are.
        wanted: the settings, nested as in daemon.json.
    """
    found: Daemon = host.get_fact(DockerDaemon)
    if found.fault:
        yield refusal([f"{found.fault}: correct it by hand"])
        return
    root = str(found.settings.get("data-root", "/var/lib/docker"))
    around = host.get_fact(DockerSurroundings, root=root)
    before = found.noted.get(role, {})
    merged, kept = docker_settings.merge(found.settings, wanted, before=before, around=around)
    if faults := docker_settings.faults(merged, around):
        yield refusal(faults)
        return
    for line in kept:
        logger.warning(f"{host.print_prefix}{DAEMON}: {line}")
    yield from written(found, merged, {**found.noted, role: wanted})


def refusal(lines: Sequence[str]) -> StringCommand:
    """Return a command that says what is wrong with the file and fails."""
    told = "; ".join(lines)
    return StringCommand(f"echo {shlex.quote(f'{DAEMON}: {told}: nothing was changed')} >&2; false")


def written(
    found: Daemon, settings: Settings, noted: Mapping[str, Settings]
) -> Iterator[StringCommand]:
    """Yield the commands that write both files; the daemon's own is tried by its next start.

    It is not written under containers that this start would end. Its owner and mode stay.
    """
    if found.settings != settings:
        reader = trial.read_by_unit("docker.service")
        script = put_script(DAEMON, mode="644", user="", group="", validate=VALIDATE, reader=reader)
        guard = containers.spared()
        yield json_put(f"{guard} && {script}" if guard else script, settings)
    if found.noted != noted:
        yield json_put(put_script(NOTED, mode="644", user="root", group="root", validate=""), noted)


def json_put(script: str, data: Mapping[str, Any]) -> StringCommand:
    """Return a command that hands data to a script of `put_script`."""
    return StringCommand(script, _stdin=json.dumps(data, indent=2) + "\n")


@operation()
def no_other_engine() -> Generator[str, None, None]:
    """Refuse a host where something else stands in the place of Docker Engine."""
    if others := [name for name in host.get_fact(DockerEngines) if name not in SOURCES]:
        told = (
            f"{', '.join(others)} is there in the place of Docker Engine, and both cannot be:"
            " remove it, or leave the role docker out of [layers] layer1"
        )
        yield f"echo {shlex.quote(told)} >&2; exit 1"


def kept_engine(source: str) -> str:
    """Return the package of an engine that stays though docker.source is another; "" for none.

    Args:
        source: docker.source.
    """
    for name in host.get_fact(DockerEngines):
        if SOURCES.get(name, source) != source:
            logger.warning(
                f"{host.print_prefix}{name} is there and stays as it is, though docker.source is"
                f' "{source}": remove it to have the other one'
            )
            return name
    return ""


@operation()
def pull_ahead(names: tuple[str, ...]) -> Generator[str, None, None]:
    """Begin to pull images that `pulled` will want later in this run, beside what comes next.

    Docker must not be restarted between the two. A pull that fails costs nothing: `pulled` tries
    again.

    Args:
        names: "registry/name@sha256:...".
    """
    there = host.get_fact(DockerImages, names=names)
    if missing := [shlex.quote(name) for name in names if name not in there]:
        pulls = "; ".join(f"docker pull --quiet {name}" for name in missing)
        yield f"! command -v docker >/dev/null || {beside.begin(AHEAD_UNIT, pulls)} || true"


@operation()
def pulled(names: tuple[str, ...]) -> Generator[str, None, None]:
    """Pull images that are missing, by digest, once `pull_ahead` has done what it could.

    Args:
        names: "registry/name@sha256:...".
    """
    there = host.get_fact(DockerImages, names=names)
    for name in names:
        if name not in there:
            quoted = shlex.quote(name)
            yield (
                f"{TAKE} docker image inspect {quoted} >/dev/null 2>&1 && exit 0;"
                f" for attempt in $(seq {ATTEMPTS}); do docker pull --quiet {quoted} && exit 0;"
                f" sleep {PAUSE_S}; done; echo {quoted}: cannot be pulled, {ATTEMPTS} attempts:"
                " look at the registry and the network, or name an archive of docker save in"
                " stack.images >&2; exit 1"
            )


@operation()
def loaded(archives: tuple[str, ...]) -> Generator[str | FileUploadCommand, None, None]:
    """Load images that are missing from archives of this machine.

    Args:
        archives: paths of files that `docker save` wrote.

    Raises:
        OperationValueError: a file is no such archive.
    """
    wanted = {archive: image_ids(Path(archive)) for archive in archives}
    every = {name for ways in wanted.values() for ids in ways for name in ids}
    there = host.get_fact(DockerImages, names=tuple(sorted(every)))
    for archive, ways in wanted.items():
        if not any(there.issuperset(ids) for ids in ways):
            yield f"mkdir -p {Path(INCOMING).parent}"
            yield FileUploadCommand(archive, INCOMING)
            yield f"docker load --quiet --input {INCOMING}; code=$?; rm -f {INCOMING}; exit $code"


def image_ids(archive: Path) -> list[list[str]]:
    """Return the ids of the images in an archive of `docker save`, in each way of naming them.

    An engine knows an image by the digest of its configuration or, with containerd's image store
    (the default from Docker 29 on), by that of its manifest. Source: moby, image/spec/v1.2.md,
    manifest.json; OCI image layout specification, index.json; moby issue 48401.

    Returns:
        Lists of "sha256:..."; the images are there when all of one list are.

    Raises:
        OperationValueError: it is no such archive.
    """
    try:
        with tarfile.open(archive) as tar:
            entries = read_member(tar, "manifest.json")
            configs = [Path(entry["Config"]).name.removesuffix(".json") for entry in entries]
            ways = [[f"sha256:{config}" for config in configs]]
            if "index.json" in tar.getnames():
                index = read_member(tar, "index.json")
                ways.append([entry["digest"] for entry in index["manifests"]])
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise OperationValueError(
            f"{archive}: is no archive of docker save: {error}; make it with docker save -o"
        ) from error
    return [ids for ids in ways if ids]


def read_member(tar: tarfile.TarFile, name: str) -> Any:  # noqa: ANN401 (whatever JSON can hold)
    """Parse a file of an archive.

    Raises:
        KeyError: there is no such file.
        ValueError: it is no JSON.
    """
    member = tar.extractfile(name)
    if member is None:
        raise KeyError(f"{name} is no file")
    return json.load(member)
