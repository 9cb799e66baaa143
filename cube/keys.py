"""A layer's key: the same for the same layer, on every machine and in every checkout.

The key of a layer is the sha256 of a canonical JSON object with

- ``parent``: the key of the link below it (for layer 1 that of the base),
- ``layer``: its number, ``roles``: the roles that are applied, in their order,
- ``data``: what `cube.spec.host_data` gives to pyinfra,
- ``sources``: path below ``deploy/`` and sha256 of every file that the layer may use: all of
  them but the modules of other layers and of roles that it does not apply.

The key of the base is built the same way from the image's table in cube.toml and ``packer/``.
Nothing else enters: no time, no absolute path, no package version. A mirror's newer package
therefore changes the disk and not the key; the manifest lists the packages for that.
"""

import hashlib
import json
from pathlib import Path

from cube.spec import LAYER_ROLES, Spec, host_data

#: The folder that holds ``deploy/`` and ``packer/``.
PROJECT = Path(__file__).resolve().parent.parent


def base_key(spec: Spec, *, project: Path = PROJECT) -> str:
    """Return the key of the bare OS image."""
    table = spec.os.ubuntu if spec.image.os == "ubuntu-24.04" else spec.os.debian
    return digest({
        "image": spec.image.model_dump(mode="json", exclude={"version"}),
        "os": table.model_dump(mode="json") if table else {},
        "sources": hashes(project / "packer"),
    })  # fmt: skip


def layer_key(parent_key: str, layer: int, spec: Spec, *, project: Path = PROJECT) -> str:
    """Return the key of a layer.

    Args:
        parent_key: key of the link below it.
        layer: its number.
        spec: the specification.
        project: the folder that holds ``deploy/``.
    """
    roles = spec.layers.roles(layer)
    sources = hashes(project / "deploy")
    return digest({
        "parent": parent_key,
        "layer": layer,
        "roles": list(roles),
        "data": host_data(spec),
        "sources": {
            path: value for path, value in sources.items() if concerns(path, layer, roles)
        },
    })  # fmt: skip


def concerns(path: str, layer: int, roles: tuple[str, ...]) -> bool:
    """Tell whether a layer may use a file of ``deploy/``; shared files concern every layer."""
    folder, _, name = path.rpartition("/")
    stem = name.removesuffix(".py")
    if folder == "":
        return stem == f"layer{layer}" or stem not in {f"layer{n}" for n in LAYER_ROLES}
    every_role = {role for names in LAYER_ROLES.values() for role in names}
    if folder == "roles":
        return stem in roles or stem not in every_role
    return True


def hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder, by its path below it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def digest(value: object) -> str:
    """Return the sha256 of a JSON value in its canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
