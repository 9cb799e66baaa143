"""NoCloud seeds: what cloud-init is told at boot, on a small CD."""

import hashlib
import tempfile
from pathlib import Path

import yaml

from cube.machines import BUILD_UID, BUILD_USER, MachineRequest, Seed
from cube.runtime import run

#: The volume label that cloud-init looks for. Source: cloud-init, NoCloud datasource.
LABEL = "cidata"


#: Of the build account. Its group is one that exists: a group of its own would take the number of
#: the administrator's. Source: cloud-init, "Users and groups": a number as text is deprecated.
NUMBERS: dict[str, object] = {"uid": BUILD_UID, "primary_group": "users"}


def build_seed(public_key: str) -> Seed:
    """Return the seed that lets the build key in; the same key is the same instance."""
    digest = hashlib.sha256(public_key.encode()).hexdigest()
    return Seed(instance_id=f"cube-{digest[:16]}", user=BUILD_USER, public_key=public_key)


def wanted(request: MachineRequest) -> Seed:
    """Return a request's seed, or the build key's."""
    if request.seed is not None:
        return request.seed
    public = request.key_file.with_name(request.key_file.name + ".pub")
    return build_seed(public.read_text().strip())


def render_user_data(seed: Seed) -> str:
    """Build user-data: one account with a key; no password, no package is touched.

    `ssh_pwauth` is left alone: stating it makes cloud-init restart sshd under the first login.
    """
    account: dict[str, object] = {
        "name": seed.user,
        **(NUMBERS if seed.user == BUILD_USER else {}),
        "gecos": seed.user,
        "shell": "/bin/bash",
        "lock_passwd": True,
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": [seed.public_key],
    }
    data = {
        "users": [account],
        "disable_root": True,
        "package_update": False,
        "package_upgrade": False,
    }
    return "#cloud-config\n" + yaml.safe_dump(data, sort_keys=False)


def render_meta_data(seed: Seed) -> str:
    """Build meta-data: the instance's identity and, when given, its name."""
    data = {"instance-id": seed.instance_id}
    if seed.hostname:
        data["local-hostname"] = seed.hostname
    return yaml.safe_dump(data, sort_keys=False)


def write_iso(seed: Seed, target: Path) -> None:
    """Write a seed as an ISO 9660 image with Rock Ridge and Joliet names.

    Raises:
        CommandError: xorriso is missing or failed.
    """
    files = {"user-data": render_user_data(seed), "meta-data": render_meta_data(seed)}
    with tempfile.TemporaryDirectory(prefix="cube-seed-") as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        run.run(iso_args(Path(folder), target))


def iso_args(folder: Path, target: Path) -> list[str | Path]:
    """Build xorriso's command line: `-as mkisofs` writes to a new file, `-r` has root own all.

    Source: xorrisofs(1).
    """
    return [
        "xorriso",
        "-as",
        "mkisofs",
        "-quiet",
        "-volid",
        LABEL,
        "-joliet",
        "-rational-rock",
        "-output",
        target,
        folder,
    ]
