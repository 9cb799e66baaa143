"""Stages 4 and 5: judge the whole, seal it, prove the artifact, give it its name."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cube import builder, keys, log, manifest, proof, report, seal, testing
from cube.findings import CheckReport, merge
from cube.layers import LayerRecord
from cube.machines import Machine, accelerator
from cube.machines.choose import Choice, choose
from cube.manifest import write_whole
from cube.proof import ProofRequest, Proven
from cube.spec import Spec
from cube.testing import CheckRun
from cube.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """The compressed image under its temporary name, and what it showed without booting."""

    file: Path
    sizes: seal.Sizes
    sha256: str
    inspection: seal.Inspection


def validate(machine: Machine, spec: Spec, work: Workspace) -> CheckReport:
    """Run every check on the machine that has all layers.

    Raises:
        CheckError: one failed.
    """
    return testing.run_checks(
        CheckRun(
            target=machine.endpoint,
            select=["checks"],
            name="all",
            spec_file=spec.file,
            results_dir=work.results,
        )
    )


def seal_disk(disk: Path, spec: Spec, work: Workspace) -> Sealed:
    """Flatten and compress a clean disk, and judge the result offline.

    Raises:
        SealError: it could not be compressed, or the mark of the cleaning is missing.
        CheckError: a hygiene check failed.
    """
    file = work.work / "sealed.qcow2"
    sizes = seal.flatten(disk, file)
    inspection = seal.inspect(file, spec, work=work.machines, results=work.results)
    with log.step("Computing the checksum"):
        digest = seal.sha256(file)
    return Sealed(file=file, sizes=sizes, sha256=digest, inspection=inspection)


def prove(sealed: Sealed, spec: Spec, work: Workspace) -> Proven:
    """Boot two clones of the artifact, always as virtual machines.

    Raises:
        ProofError: it does not boot, or is not what it should be.
        CheckError: a check failed on a clone.
    """
    request = ProofRequest(
        artifact=sealed.file, root_bytes=sealed.inspection.root_bytes, build_key=work.build_key,
        spec=spec, work=work.machines, results=work.results,
    )  # fmt: skip
    return proof.prove(request, choose("vm").machines)


def compose(
    spec: Spec,
    work: Workspace,
    *,
    records: Sequence[LayerRecord],
    reports: Sequence[CheckReport],
    sealed: Sealed,
    proven: Proven,
    stages: Sequence[manifest.Stage],
    choice: Choice,
) -> dict[str, Any]:
    """Return the manifest."""
    layer_reports = [CheckReport(checks=record.checks) for record in records]
    return manifest.compose(
        name=spec.image.name,
        version=spec.image.version,
        facts=proven.facts,
        artifact=manifest.Artifact(
            file=work.artifact.name, sha256=sealed.sha256, size_bytes=sealed.sizes.after,
            unsealed_bytes=sealed.sizes.before, virtual_bytes=sealed.sizes.virtual,
        ),
        layers=describe_layers(spec, records),
        checks=merge([*layer_reports, *reports, sealed.inspection.checks, proven.checks]),
        proof=proven.proof,
        stages=stages,
        builder=builder.describe_builder(accelerator=accelerator.find(), machine=choice.kind),
        built_at=datetime.now(UTC),
    )  # fmt: skip


def describe_layers(spec: Spec, records: Sequence[LayerRecord]) -> list[manifest.Layer]:
    """Return the layers for the manifest; a key stands on the key of the link below."""
    layers: list[manifest.Layer] = []
    parent = keys.base_key(spec)
    for record in records:
        key = keys.layer_key(parent, record.layer, spec)
        roles = spec.layers.roles(record.layer)
        layers.append(manifest.Layer.of(record, key=key, roles=roles))
        parent = parent if record.skipped else key
    return layers


def publish(data: dict[str, Any], sealed: Sealed, work: Workspace) -> None:
    """Give everything its name; the manifest comes last, so its presence says: all is there.

    Raises:
        SealError: the manifest does not fit its schema; nothing has a name then.
    """
    manifest.validate(data)
    for path in (work.manifest, work.checksum, work.report):
        path.unlink(missing_ok=True)
    sealed.file.chmod(0o644)
    sealed.file.replace(work.artifact)
    write_whole(work.checksum, seal.checksum_line(sealed.sha256, work.artifact.name))
    report.write(work.report, data)
    manifest.write(work.manifest, data)
