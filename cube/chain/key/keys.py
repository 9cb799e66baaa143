"""A link's key: the same for the same link, on every machine and in every checkout.

The key is the sha256 of its ingredients, a JSON object in canonical form. They are kept beside
the link, so that a person can read what made it and `cube chain why` can tell what differs:

- ``format``: of the chain, ``name``: of the link, ``parent``: the key of the link below it,
- ``refresh``: which supply of packages it was made from (see `cube.chain.refresh`),
- ``tools``: versions of the programs that make it,
- ``data``: what it reads of cube.toml, and only that,
- ``sources``: path and sha256 of every file that it uses, and only of those.

No time, no absolute path and no version of a package enters by itself: the manifest lists
packages, and ``refresh`` says how old the supply may be.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cube.chain.key import rooms, sources
from cube.config import BASE, GPU_LAYERS, Spec, build_data, link_name, security_mirror
from cube.runtime.errors import ChainError

#: The folder that holds ``deploy/``, ``packer/`` and ``checks/``.
PROJECT = Path(__file__).resolve().parents[3]
#: Of the store and of the ingredients: another number, and no older link is reused.
FORMAT = 2
#: What applies a layer, and fills its templates: their versions count.
TOOLS = ("jinja2", "pyinfra")
#: What compresses an image: another version makes other bytes.
COMPRESSOR = "zstandard"

#: Digits of a digest that tell two files of one name apart.
DIGITS = 12
#: The data that name files of this machine: their content counts, not where they are.
FILES = ("ca_certificates", "framework_locks", "image_archives")

Ingredients = dict[str, Any]


def base_ingredients(spec: Spec, *, refresh: str, project: Path = PROJECT) -> Ingredients:
    """Return what makes the bare OS image.

    Args:
        spec: the specification.
        refresh: the supply of packages.
        project: the folder that holds ``packer/`` and ``cube/``.
    """
    files = rooms.base_files(project, spec.image.os)
    return {
        "format": FORMAT,
        "name": BASE,
        "parent": "",
        "refresh": refresh,
        "tools": rooms.base_programs(spec.image.os),
        "data": plain(base_data(spec)),
        "sources": sources.hashes(project, files),
    }


def base_data(spec: Spec) -> dict[str, object]:
    """Return what the making of the bare OS reads of the specification."""
    read: dict[str, object] = {
        "admin.user": spec.admin.user,
        "image.disk_size": spec.image.disk_size,
        "image.hostname": spec.image.hostname,
        "image.layout": spec.image.disk_layout,
        "image.os": spec.image.os,
        "network.apt_mirror": spec.network.apt_mirror,
        "network.apt_security_mirror": security_mirror(spec),
        "network.proxy": spec.network.proxy,
    }
    if spec.image.os == "debian-13":
        return {**read, "os.kernel": spec.os.debian.kernel}
    assert spec.os.ubuntu is not None  # the specification's own rule
    return {
        **read,
        "image.locale": spec.image.locale,
        "image.timezone": spec.image.timezone,
        "network.apt_security_mirror": spec.network.apt_security_mirror,
        "os.iso_sha256": spec.os.ubuntu.iso_sha256,
    }


def layer_ingredients(
    spec: Spec,
    layer: int,
    *,
    parent: str,
    refresh: str,
    gpus: Sequence[str] = (),
    data: dict[str, Any] | None = None,
    project: Path = PROJECT,
) -> Ingredients:
    """Return what makes a layer.

    Args:
        spec: the specification.
        layer: its number.
        parent: key of the link below it.
        refresh: the supply of packages.
        gpus: PCI ids of the NVIDIA GPUs that the machine of the build shows to its guest.
        data: what `host.data` will hold; None takes that of the pipeline's machine.
        project: the folder that holds ``deploy/``.
    """
    roles = spec.layers.roles(layer)
    modules = sources.modules(project, [f"deploy.roles.{role}" for role in roles])
    held = build_data(spec) if data is None else data
    read = read_data(held, sources.data_names(modules))
    read[f"layer{layer}_roles"] = list(roles)
    if layer in GPU_LAYERS:
        read |= {"gpu_mode": spec.gpu.mode}
        if spec.gpu.mode == "auto":
            read |= {"gpus": sorted(gpus)}
    return {
        "format": FORMAT,
        "name": link_name(layer),
        "parent": parent,
        "refresh": refresh,
        "tools": {name: importlib.metadata.version(name) for name in TOOLS},
        "data": plain(read),
        "sources": layer_sources(layer, roles, project=project),
    }


def read_data(held: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what roles read of the data that a key covers.

    Raises:
        ChainError: they read something else: no key would tell of a change of it.
    """
    for name in names:
        if name not in held:
            raise ChainError(
                f"a role reads host.data.{name}, which is not a setting of cube.toml, so no key"
                " covers it",
                hint="add it to cube.config.host_data, or do not read it (grep -r in deploy/)",
            )
    return {name: held[name] for name in names}


def layer_sources(layer: int, roles: Sequence[str], *, project: Path) -> dict[str, str]:
    """Return path and sha256 of every file that a layer with these roles uses."""
    runner = sources.modules(project, [f"deploy.{link_name(layer)}"])
    return sources.hashes(project, {*runner, *sources.role_files(project, roles)})


def image_ingredients(spec: Spec, *, head: str, project: Path = PROJECT) -> Ingredients:
    """Return what makes the sealed and proven image out of the chain's last link."""
    files = rooms.image_files(project)
    return {
        "format": FORMAT,
        "name": "image",
        "parent": head,
        "tools": {COMPRESSOR: importlib.metadata.version(COMPRESSOR)},
        "data": plain(
            {
                "image.name": spec.image.name,
                "image.version": spec.image.version,
                "network.keep_ca_certificates": spec.network.keep_ca_certificates,
            }
        ),
        "sources": sources.hashes(project, files),
    }


def recipe(layer: int, roles: Sequence[str], *, project: Path = PROJECT) -> str:
    """Return the sha256 of a layer's sources alone: what a box and a checkout can compare."""
    used = layer_sources(layer, roles, project=project)
    return digest({"name": link_name(layer), "sources": used})


def plain(data: dict[str, object]) -> dict[str, object]:
    """Return data as it may be kept and compared: sorted, without secrets, files by content."""
    return {name: plain_value(name, data[name]) for name in sorted(data)}


def plain_value(name: str, value: object) -> object:
    """Return one value: files by name and content, a URL with a login as its digest."""
    if isinstance(value, list | tuple):
        if name in FILES:
            return file_digests([Path(file) for file in value])
        return [plain_value(name, item) for item in value]
    if isinstance(value, str) and "://" in value and "@" in value:
        return f"sha256:{digest(value)}"
    return value


def file_digests(paths: Sequence[Path]) -> dict[str, str]:
    """Return the digest of each file by its name; of several with one name, each has its own."""
    names = [path.name for path in paths]
    found = [(path.name, file_digest(path)) for path in paths]
    return {
        name if names.count(name) == 1 else f"{name} {digest[:DIGITS]}": digest
        for name, digest in found
    }


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(value: object) -> str:
    """Return the sha256 of a JSON value in its canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def flatten(ingredients: Ingredients, prefix: str = "") -> dict[str, str]:
    """Return every ingredient with its path, ``sources deploy/roles/users.py``, as text."""
    flat: dict[str, str] = {}
    for name, value in ingredients.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            flat |= flatten(value, f"{path} ")
        else:
            flat[path] = value if isinstance(value, str) else json.dumps(value)
    return flat


def differences(before: Ingredients, after: Ingredients) -> list[str]:
    """Say in one line each which ingredients differ."""
    old, new = flatten(before), flatten(after)
    return [
        difference(path, old.get(path), new.get(path))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def require_same(before: Ingredients, after: Ingredients) -> None:
    """Refuse a link whose ingredients were changed while it was made: its key would be a lie.

    Raises:
        ChainError: they were.
    """
    if found := differences(before, after):
        raise ChainError(
            f"{before['name']} is not kept: while it was made, {found[0]}",
            hint="run cube build again: it makes the link from what is there now",
            details="\n".join(found),
        )


def difference(path: str, old: str | None, new: str | None) -> str:
    """Say how one ingredient differs; digests are not worth reading."""
    kind, _, name = path.partition(" ")
    if kind == "sources" or name.split(" ")[0] in FILES:
        what = "is new" if old is None else "is gone" if new is None else "changed"
        return f"{name} {what}"
    if path == "parent":
        return "the link below it is another one"
    if path == "refresh":
        return f"the packages: a supply of {new} instead of {old}"
    label = {"data": "cube.toml", "tools": "version of"}.get(kind, "")
    words = f"{label} {name or path}".strip()
    before, after = ("nothing" if value is None else value for value in (old, new))
    return f"{words}: {before} -> {after}"
