"""`cube certify` and `cube passport`: what hardware settled of one unit, signed."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from cube.cli.apply import ONE_HOST
from cube.cli.options import Commands, add
from cube.cli.output import tell
from cube.cli.validate import add_model
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.hosts import apply, remote
from cube.hosts.passport import certify, signature
from cube.hosts.target import find
from cube.hosts.validation import record
from cube.hosts.validation.catalog import NAMES
from cube.hosts.validation.validation import Wanted
from cube.runtime import documents
from cube.runtime.atomic import write_whole
from cube.runtime.errors import HostError, PassportError
from cube.runtime.redact import masked_data
from cube.seal import manifest

FILE = "passport.json"


def add_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the group."""
    add_certify(commands)
    add_verify(commands)


def add_certify(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube certify`."""
    text = "settle an image's deferred checks on hardware and sign the unit's passport"
    command = add(commands, "certify", cmd_certify, text, image="--os")
    command.add_argument("host", metavar="HOST", help=ONE_HOST)
    command.add_argument(
        "--key",
        type=Path,
        required=True,
        metavar="FILE",
        help="SSH key that signs: a private one, or the public half of one that your agent holds",
    )
    command.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="of the image it carries; default: the last build's",
    )
    command.add_argument(
        "--except",
        dest="exceptions",
        action="append",
        default=[],
        choices=NAMES,
        metavar="SUITE",
        help="a suite that may fail; the passport says so",
    )
    add_model(command)


def add_verify(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube passport`."""
    text = "read a passport, once its signature is verified; needs no cube.toml"
    command = add(commands, "passport", cmd_verify, text, image="--os")
    command.set_defaults(alone=verify)
    command.add_argument("action", choices=("verify",), metavar="verify")
    command.add_argument("file", type=Path, metavar="FILE", help=f"the {FILE}")
    trust = command.add_mutually_exclusive_group(required=True)
    trust.add_argument("--key", type=Path, metavar="FILE", help="the public key that is trusted")
    trust.add_argument(
        "--signers", type=Path, metavar="FILE", help="a file of allowed signers; see ssh-keygen(1)"
    )


def cmd_certify(args: argparse.Namespace, spec: Spec) -> int:
    """Certify a unit and write its passport."""
    image = read_manifest(args.manifest, Workspace.of(spec).manifest)
    signature.try_key(args.key)
    require_place(spec.build.dir)
    box = remote.reach(find(spec, args.host))
    wanted = Wanted(model=args.model)
    found = certify.certify(spec, box, image, wanted, tuple(args.exceptions))
    data = masked_data(certify.compose(image, found))
    folder = apply.results_folder(spec, box)
    record.write(folder / "validation", found.suites)
    document = folder / FILE
    write_whole(document, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    signed = signature.sign(document, args.key)
    told: dict[str, object] = {"box": box.name, "passport": str(document), "signature": str(signed)}
    tell(args.view, "certified", told, f"{box.name}: {data['verdict']}\n{document}\n{signed}")
    return 0


def read_manifest(named: Path | None, built: Path) -> dict[str, Any]:
    """Read the manifest of the image that a unit carries.

    Args:
        named: the file that the command line names.
        built: that of the last build, which counts where none is named.

    Raises:
        PassportError: there was no build.
        SealError: the file is no manifest.
    """
    if named is None and not built.exists():
        raise PassportError(
            f"no image was built here: there is no {built}",
            hint="name the manifest of the image that the box carries: --manifest FILE",
        )
    return manifest.read(named or built)


def require_place(folder: Path) -> None:
    """Refuse a folder that takes no passport before an hour of suites, not after.

    Raises:
        HostError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise HostError(
            f"{folder}: cannot be written: {error.strerror}",
            hint="the passport is kept there: set build.dir in cube.toml to another folder",
        ) from error


def cmd_verify(args: argparse.Namespace, spec: Spec) -> int:  # noqa: ARG001 (every command's)
    """Verify a passport and say what it certifies."""
    return verify(args)


def verify(args: argparse.Namespace) -> int:
    """Verify a passport and say what it certifies; a recipient has no cube.toml.

    Raises:
        PassportError: its signature does not hold, or it is no passport.
    """
    said = signature.verify(args.file, public_key=args.key, signers=args.signers)
    try:
        data = documents.parse(args.file.read_bytes())
        text = f"{said}\n{described(data)}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PassportError(
            f"{args.file}: it is signed, but no passport", hint=f"name the {FILE} of a unit"
        ) from error
    tell(args.view, "passport", {"signature": said, "passport": data}, text)
    return 0


def described(data: dict[str, Any]) -> str:
    """Say what a passport certifies.

    Raises:
        KeyError: it is none.
    """
    image, unit = data["image"], data["unit"]
    serial = unit.get("product_serial") or unit.get("board_serial") or "without a serial number"
    return (
        f"{data['box']} ({serial}): {data['verdict']} {data['made']}\n"
        f"image {image['name']} {image['version']}, sha256 {image['sha256']}"
    )
