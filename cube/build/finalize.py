"""Stages 4 and 5: judge the whole, seal it, prove the artifact, give it its name."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cube.build import report
from cube.build.timeline import Timeline
from cube.chain.store.link import Link
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.machines import Machine, boot
from cube.machines.choose import Choice, choose
from cube.machines.qemu import accelerator
from cube.provision import pytest_run
from cube.provision.pytest_run import CheckRun
from cube.runtime import checksum, log
from cube.runtime.atomic import write_whole
from cube.runtime.check_report import CheckReport, merge
from cube.runtime.errors import SealError
from cube.seal import boot_test, leaks, manifest, provenance, sealing
from cube.seal.boot_test import ProofRequest, Proven

#: The stages that this module makes.
STAGES = (4, 5)


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """The compressed image under its temporary name, and what it showed without booting."""

    file: Path
    sizes: sealing.Sizes
    sha256: str
    inspection: sealing.Inspection


def validate(machine: Machine, spec: Spec, work: Workspace) -> CheckReport:
    """Run every check on the machine that has all layers.

    Raises:
        CheckError: one failed.
    """
    every = CheckRun(
        target=machine.endpoint,
        select=["checks"],
        name="all",
        spec_file=spec.file,
        results_dir=work.results,
    )
    boot.settle(machine.endpoint)
    with log.step("Checking all layers"):
        return pytest_run.run_checks(every)


def seal_disk(disk: Path, spec: Spec, work: Workspace) -> Sealed:
    """Copy a clean disk onto new file systems, compress it, and judge the result offline.

    Raises:
        SealError: it could not be compressed, or the mark of the cleaning is missing.
        CheckError: a hygiene check failed.
    """
    file = work.work / "sealed.qcow2"
    with sealing.repacked(disk, spec, work) as raw:
        sizes = replace(sealing.flatten(raw, file), before=sealing.chain_bytes(disk))
    inspection = sealing.inspect(file, spec, work=work.machines, results=work.results)
    with log.step("Computing the checksum"):
        digest = checksum.sha256(file)
    return Sealed(file=file, sizes=sizes, sha256=digest, inspection=inspection)


def prove(sealed: Sealed, spec: Spec, work: Workspace) -> Proven:
    """Boot two clones of the artifact, always as virtual machines.

    Raises:
        ProofError: it does not boot, or is not what it should be.
        CheckError: a check failed on a clone.
    """
    request = ProofRequest(
        artifact=sealed.file,
        root_bytes=sealed.inspection.root_bytes,
        build_key=work.build_key,
        spec=spec,
        work=work.machines,
        results=work.results,
        wanted=tuple(leaks.needles(spec, work)),
    )
    return boot_test.prove(request, choose("vm").machines)


def compose(
    spec: Spec,
    work: Workspace,
    *,
    links: Sequence[Link],
    reused: Collection[str],
    key: str,
    reports: Sequence[CheckReport],
    sealed: Sealed,
    proven: Proven,
    stages: Sequence[manifest.Stage],
    choice: Choice,
) -> dict[str, Any]:
    """Return the manifest.

    Args:
        spec: what was built.
        work: where.
        links: of the image, base first, skipped layers among them.
        reused: keys of those that were made by an earlier build.
        key: of the image.
        reports: of the checks of stage 4.
        sealed: the artifact.
        proven: what its clones showed.
        stages: with their times.
        choice: the kind of machine that the layers were made on.
    """
    records = [link.layer for link in links if link.layer]
    layer_reports = [CheckReport(checks=record.checks) for record in records]
    return manifest.compose(
        name=spec.image.name,
        version=spec.image.version,
        facts=proven.facts,
        artifact=manifest.Artifact(
            file=work.artifact.name,
            sha256=sealed.sha256,
            size_bytes=sealed.sizes.after,
            unsealed_bytes=sealed.sizes.before,
            virtual_bytes=sealed.sizes.virtual,
        ),
        key=key,
        links=[manifest.ChainLink.of(link, reused=link.key in reused) for link in links],
        layers=[
            manifest.Layer.of(link.layer, key=link.key, roles=spec.layers.roles(link.layer.layer))
            for link in links
            if link.layer
        ],
        checks=merge([*layer_reports, *reports, sealed.inspection.checks, proven.checks]),
        proof=proven.proof,
        stages=stages,
        builder=provenance.describe_builder(accelerator=accelerator.find(), machine=choice.kind),
        built_at=datetime.now(UTC),
    )


def stale(key: str, head: Link, work: Workspace) -> str:
    """Say why the published image is not the one that is wanted, whole; empty when it is.

    Args:
        key: of the image that is wanted.
        head: the link that it is sealed from.
        work: where the published one is.
    """
    if not work.manifest.exists():
        return "there is no image yet"
    try:
        data = manifest.read(work.manifest)
    except SealError as error:
        return error.message
    if data["key"] != key:
        return difference(data, head)
    if not work.artifact.exists():
        return f"{work.artifact.name} is missing"
    if checksum.sha256(work.artifact) != data["artifact"]["sha256"]:
        return f"{work.artifact.name} is not what its manifest says"
    missing = [path.name for path in (work.checksum, work.report) if not path.exists()]
    return f"{missing[0]} is missing" if missing else ""


def difference(data: dict[str, Any], head: Link) -> str:
    """Say why an image has another key than the one that is made from this link now."""
    made_from = [link["key"] for link in data["links"] if link["size_bytes"]][-1]
    if made_from != head.key:
        return f"the image was made from another link than {head.name} {head.short}"
    return "the checks or what seals an image have changed"


def tell_reused(work: Workspace) -> None:
    """Say that the image that is there is taken over, and what judging and sealing it took."""
    data = manifest.read(work.manifest)
    seconds = sum(stage["seconds"] for stage in data["stages"] if stage["number"] in STAGES)
    made = data["image"]["built_at"]
    log.reused(
        f"the image is reused: made {made}",
        {
            "name": "image",
            "key": data["key"],
            "created": made,
            "seconds": seconds,
            "size_bytes": data["artifact"]["size_bytes"],
        },
    )


def publish(data: dict[str, Any], sealed: Sealed, work: Workspace, timeline: Timeline) -> None:
    """Give everything its name; the manifest comes last, so its presence says: all is there.

    Args:
        data: the manifest.
        sealed: the artifact.
        work: where it goes.
        timeline: of the build, for the report.

    Raises:
        SealError: the manifest does not fit its schema; nothing has a name then.
    """
    manifest.validate(data)
    for path in (work.manifest, work.checksum, work.report):
        path.unlink(missing_ok=True)
    sealed.file.chmod(0o644)
    sealed.file.replace(work.artifact)
    write_whole(work.checksum, checksum.line(sealed.sha256, work.artifact.name))
    report.write(work.report, {**data, **timeline.as_data(slowest=report.SLOWEST)})
    manifest.write(work.manifest, data)
