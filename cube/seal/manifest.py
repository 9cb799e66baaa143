"""The manifest: what an image is, how it was built, what was proven; validated, then written."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator

from cube.chain.store.link import LayerRecord, Link
from cube.runtime import documents
from cube.runtime.atomic import write_whole
from cube.runtime.check_report import CheckReport
from cube.runtime.errors import SealError
from cube.runtime.redact import masked_data
from cube.seal.boot_test import Proof
from cube.seal.image_facts import ImageFacts
from cube.seal.provenance import Builder

SCHEMA_FILE = Path(__file__).with_name("manifest.schema.json")
SCHEMA_ID = "urn:vault-cube:manifest:1"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The sealed file; sizes in bytes. `unsealed_bytes` is what the chain's files took."""

    file: str
    sha256: str
    size_bytes: int
    unsealed_bytes: int
    virtual_bytes: int
    format: Literal["qcow2"] = "qcow2"


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Of a layer: how many, how many changed something, and commands on the machine for them.

    `repeat_execs` is for the second application, which changes nothing.
    """

    total: int = 0
    changed: int = 0
    execs: int = 0
    repeat_execs: int = 0


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What became of a layer; `reason` says why it was skipped (`key` is None then), or why not.

    `seconds` is all of it, with boots; the others are parts of it.
    """

    number: int
    status: Literal["applied", "skipped"]
    reason: str = ""
    key: str | None = None
    roles: tuple[str, ...] = ()
    seconds: float = 0.0
    apply_seconds: float = 0.0
    repeat_seconds: float = 0.0
    check_seconds: float = 0.0
    operations: Operations = Operations()

    @classmethod
    def of(cls, record: LayerRecord, *, key: str, roles: tuple[str, ...]) -> "Layer":
        """Return a layer's entry; `key` and `roles` are those that it has when it is applied."""
        if record.skipped:
            return cls(number=record.layer, status="skipped", reason=record.skipped)
        return cls(
            number=record.layer,
            status="applied",
            reason=record.reason,
            key=key,
            roles=roles,
            seconds=record.seconds,
            apply_seconds=record.apply_s,
            repeat_seconds=record.repeat_s,
            check_seconds=record.check_s,
            operations=Operations(
                total=record.operations,
                changed=record.changed,
                execs=record.execs,
                repeat_execs=record.repeat_execs,
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ChainLink:
    """A link that the image was sealed from; `reused` when an earlier build had made it."""

    name: str
    key: str
    refresh: str
    created: str
    seconds: float
    size_bytes: int
    reused: bool

    @classmethod
    def of(cls, link: Link, *, reused: bool) -> "ChainLink":
        """Return a link's entry."""
        return cls(
            name=link.name,
            key=link.key,
            refresh=link.refresh,
            created=timestamp(datetime.fromisoformat(link.created)),
            seconds=link.seconds,
            size_bytes=link.size_bytes,
            reused=reused,
        )


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of the build and how long it took."""

    number: int
    name: str
    seconds: float


def compose(
    *,
    name: str,
    version: str,
    facts: ImageFacts,
    artifact: Artifact,
    key: str,
    links: Sequence[ChainLink],
    layers: Sequence[Layer],
    checks: CheckReport,
    proof: Proof,
    stages: Sequence[Stage],
    builder: Builder,
    built_at: datetime,
) -> dict[str, Any]:
    """Return the manifest of a build that succeeded, as JSON-like data.

    Args:
        name: of the image.
        version: of the image.
        facts: what a clone of the artifact said of itself.
        artifact: the sealed file.
        key: of the image: what it was made, judged and sealed from.
        links: of the chain that it was sealed from, base first, skipped layers among them.
        layers: every enabled layer, in order.
        checks: of all runs, merged.
        proof: what the clones showed.
        stages: in order, with their durations.
        builder: who built it, where.
        built_at: when the build ended.
    """
    told = unfinished(
        name=name, version=version, layers=layers, checks=checks, stages=stages, built_at=built_at
    )
    return plain_object(
        {
            "schema": SCHEMA_ID,
            # A build never certifies: only hardware does, when it settles every deferred check.
            "status": "built",
            "key": key,
            "image": told["image"],
            "os": {**facts.os, "kernel": facts.kernel, "architecture": facts.architecture},
            "versions": facts.versions,
            "artifact": asdict(artifact),
            "links": [asdict(link) for link in links],
            "layers": told["layers"],
            "checks": told["checks"],
            "proof": asdict(proof),
            "stages": told["stages"],
            "seconds": told["seconds"],
            "builder": asdict(builder),
            "packages": facts.packages,
        }
    )


def unfinished(
    *,
    name: str,
    version: str,
    layers: Sequence[Layer],
    checks: CheckReport,
    stages: Sequence[Stage],
    built_at: datetime,
) -> dict[str, Any]:
    """Return what there is to say of a build at any point; the report of a failed one shows it.

    Args:
        name: of the image.
        version: of the image.
        layers: those that were reached.
        checks: of all runs so far, merged; some may have failed.
        stages: those that were reached, the failed one included.
        built_at: when the build ended.
    """
    return plain_object(
        {
            "image": {"name": name, "version": version, "built_at": timestamp(built_at)},
            "layers": [asdict(layer) for layer in layers],
            "checks": {
                "passed": len(checks.having("passed")),
                "failed": len(checks.having("failed")),
                "deferred": len(checks.having("deferred")),
                "results": [asdict(check) for check in checks.checks],
            },
            "stages": [asdict(stage) for stage in stages],
            "seconds": sum(stage.seconds for stage in stages),
        }
    )


def plain_object(data: dict[str, Any]) -> dict[str, Any]:
    """Return an object with lists for tuples, and durations to the millisecond."""
    return {key: plain(item) for key, item in data.items()}


def plain(value: Any) -> Any:  # noqa: ANN401 (whatever JSON can hold)
    """Return lists for tuples, and durations to the millisecond."""
    if isinstance(value, dict):
        return plain_object(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return round(value, 3) if isinstance(value, float) else value


def timestamp(moment: datetime) -> str:
    """Return a moment in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of the manifest."""
    data: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
    return data


def validate(data: dict[str, Any]) -> None:
    """Hold a manifest against its schema.

    Raises:
        SealError: it does not fit; every place is named in the details.
    """
    problems = [
        f"{error.json_path}: {error.message}"
        for error in Draft202012Validator(schema()).iter_errors(data)
    ]
    if problems:
        raise SealError(
            f"the manifest does not fit its schema {SCHEMA_ID}: {problems[0]}",
            hint=f"compare it with {SCHEMA_FILE}",
            details="\n".join(problems),
        )


def write(path: Path, data: dict[str, Any]) -> None:
    """Validate a manifest and put it in its place whole.

    Raises:
        SealError: it does not fit its schema; nothing is written.
    """
    validate(data)
    write_whole(path, json.dumps(masked_data(data), indent=2, ensure_ascii=False) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Read a manifest and validate it.

    Raises:
        SealError: it cannot be read, is no JSON or does not fit its schema.
    """
    try:
        data: dict[str, Any] = documents.parse(path.read_text())
    except OSError as error:
        raise SealError(
            f"{path}: cannot be read as a manifest: {error.strerror}",
            hint="name the manifest.json of a build, with --manifest FILE",
        ) from error
    except ValueError as error:
        raise SealError(
            f"{path}: cannot be read as a manifest: {error}",
            hint="name the manifest.json of a build, with --manifest FILE",
        ) from error
    validate(data)
    return data
