"""Docker's daemon and its images."""

import json
import shlex
import tarfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from pyinfra import host, logger
from pyinfra.api import OperationValueError, StringCommand, operation
from pyinfra.api.command import FileUploadCommand

from deploy.facts.docker import DAEMON, NOTED, Daemon, DockerDaemon, DockerImages, Settings
from deploy.operations import beside
from deploy.operations.files import put_script

#: The daemon reads the file before it replaces the old one, once there is a daemon.
VALIDATE = "if command -v dockerd >/dev/null; then dockerd --validate --config-file=%s; fi"
#: Docker is not restarted under containers that would not outlive it.
#: Source: docs.docker.com, "Live restore".
CONTAINERS_LIVE_ON = (
    "{ [ \"$(docker info --format '{{.LiveRestoreEnabled}}')\" = true ]"
    ' || [ -z "$(docker ps -q)" ]'
    " || { echo 'a restart of Docker would end the containers that run: stop them, or set"
    f" live-restore to true in {DAEMON}' >&2; false; }}; }}"
)
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
    itself, at an earlier application. Otherwise it stays, and is told.

    Args:
        role: whose settings they are.
        wanted: the settings, nested as in daemon.json.
    """
    found: Daemon = host.get_fact(DockerDaemon)
    if found.fault:
        complaint = f"{DAEMON}: {found.fault}: correct it by hand, nothing was changed"
        yield StringCommand(f"echo {shlex.quote(complaint)} >&2; false")
        return
    merged, kept = merge(found.settings, wanted, before=found.noted.get(role, {}))
    for line in kept:
        logger.warning(f"{host.print_prefix}{DAEMON}: {line}")
    note = {**found.noted, role: wanted}
    for path, now, then, check in (
        (DAEMON, found.settings, merged, VALIDATE),
        (NOTED, found.noted, note, ""),
    ):
        if now != then:
            script = put_script(path, mode="644", user="root", group="root", validate=check)
            yield StringCommand(script, _stdin=json.dumps(then, indent=2) + "\n")


def merge(
    current: Mapping[str, Any], wanted: Mapping[str, Any], *, before: Mapping[str, Any]
) -> tuple[Settings, list[str]]:
    """Merge settings that are wanted into those that are there.

    Args:
        current: what is there.
        wanted: what a role wants.
        before: what the same role wanted the last time.

    Returns:
        The merged settings; and one line for each value of somebody else's that stays.
    """
    merged, kept = dict(current), list[str]()
    for key, value in wanted.items():
        old, last = current.get(key), before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            nested = last if isinstance(last, Mapping) else {}
            merged[key], lines = merge(old, value, before=nested)
            kept += [f"{key}.{line}" for line in lines]
        elif key not in current or (key in before and old == last):
            merged[key] = value
        elif old != value:
            is_there, is_wanted = json.dumps(old), json.dumps(value)
            kept.append(f"{key} stays {is_there}, somebody set it; {is_wanted} was wanted")
    return merged, kept


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
