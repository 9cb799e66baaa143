"""`cube certify` and `cube passport`: what hardware settled of one unit, signed."""

import argparse
import json
from pathlib import Path

from cube import manifest
from cube.atomic import write_whole
from cube.box import apply, login
from cube.box.host import find
from cube.commands.box import HOST
from cube.commands.result import tell
from cube.commands.shared import Commands, add
from cube.commands.validate import add_model
from cube.errors import PassportError
from cube.passport import certify, signature
from cube.spec import Spec
from cube.suites import record
from cube.suites.catalog import NAMES
from cube.suites.validation import Wanted
from cube.workspace import Workspace

FILE = "passport.json"


def add_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the group."""
    add_certify(commands)
    add_verify(commands)


def add_certify(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube certify`."""
    text = "settle an image's deferred checks on hardware and sign the unit's passport"
    command = add(commands, "certify", cmd_certify, text, image="--os")
    command.add_argument("host", metavar="HOST", help=HOST)
    command.add_argument("--key", type=Path, required=True, metavar="FILE",
                         help="SSH key that signs: a private one, or the public half of one"
                         " that your agent holds")  # fmt: skip
    command.add_argument("--manifest", type=Path, metavar="FILE",
                         help="of the image it carries; default: the last build's")  # fmt: skip
    command.add_argument("--except", dest="exceptions", action="append", default=[],
                         choices=NAMES, metavar="SUITE",
                         help="a suite that may fail; the passport says so")  # fmt: skip
    add_model(command)


def add_verify(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube passport`."""
    text = "read a passport, once its signature is verified"
    command = add(commands, "passport", cmd_verify, text, image="--os")
    command.add_argument("action", choices=("verify",), metavar="verify")
    command.add_argument("file", type=Path, metavar="FILE", help=f"the {FILE}")
    trust = command.add_mutually_exclusive_group(required=True)
    trust.add_argument("--key", type=Path, metavar="FILE", help="the public key that is trusted")
    trust.add_argument("--signers", type=Path, metavar="FILE",
                       help="a file of allowed signers; see ssh-keygen(1)")  # fmt: skip


def cmd_certify(args: argparse.Namespace, spec: Spec) -> int:
    """Certify a unit and write its passport."""
    file = args.manifest or Workspace.of(spec).manifest
    image = manifest.read(file)
    refuse_key(args.key)
    box = login.reach(find(spec, args.host))
    wanted = Wanted(model=args.model)
    found = certify.certify(spec, box, image, wanted, tuple(args.exceptions))
    data = certify.compose(image, found)
    folder = apply.results_folder(spec, box)
    record.write(folder / "validation", found.suites)
    document = folder / FILE
    write_whole(document, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    signed = signature.sign(document, args.key)
    told: dict[str, object] = {"box": box.name, "passport": str(document), "signature": str(signed)}
    tell(args.view, "certified", told, f"{box.name}: {data['verdict']}\n{document}\n{signed}")
    return 0


def refuse_key(key: Path) -> None:
    """Refuse a key that is not there before an hour of suites, not after.

    Raises:
        PassportError: it is not.
    """
    if not key.is_file():
        raise PassportError(f"there is no key {key}", hint="make one: ssh-keygen -t ed25519")


def cmd_verify(args: argparse.Namespace, spec: Spec) -> int:  # noqa: ARG001 (every command's)
    """Verify a passport and say what it certifies.

    Raises:
        PassportError: its signature does not hold.
    """
    said = signature.verify(args.file, public_key=args.key, signers=args.signers)
    data = json.loads(args.file.read_text())
    image, unit = data["image"], data["unit"]
    serial = unit.get("product_serial") or unit.get("board_serial") or "without a serial number"
    text = (
        f"{said}\n{data['box']} ({serial}): {data['verdict']} {data['made']}\n"
        f"image {image['name']} {image['version']}, sha256 {image['sha256']}"
    )
    tell(args.view, "passport", {"signature": said, "passport": data}, text)
    return 0
