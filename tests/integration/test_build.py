"""What a build that succeeded hands over."""

import hashlib
import subprocess
from pathlib import Path

from cube.disks import qcow2
from cube.machines.qemu import firmware
from cube.seal import boot_test, manifest
from tests.integration.conftest import Built
from tests.processes import running


def test_the_artifact_matches_its_checksum(built: Built) -> None:
    folder = built.work.root
    subprocess.run(["sha256sum", "-c", built.work.checksum.name], cwd=folder, check=True)


def test_the_artifact_stands_alone_and_is_compressed(built: Built) -> None:
    info = qcow2.info(built.work.artifact)
    assert info.backing is None
    assert info.compression == "zstd"
    qcow2.check(built.work.artifact)


def test_the_manifest_describes_the_artifact(built: Built) -> None:
    data = manifest.read(built.work.manifest)
    artifact = built.work.artifact
    assert data["artifact"]["size_bytes"] == artifact.stat().st_size
    assert data["artifact"]["sha256"] == hashlib.sha256(artifact.read_bytes()).hexdigest()
    assert data["status"] == "built"
    assert data["os"]["id"] == "debian"
    assert data["os"]["version_id"] == "13"
    assert data["checks"]["failed"] == 0
    assert data["checks"]["passed"] > 100


def test_layers_1_and_5_are_applied_and_2_to_4_skipped_with_a_reason(built: Built) -> None:
    layers = {layer["number"]: layer for layer in manifest.read(built.work.manifest)["layers"]}
    assert [layers[n]["status"] for n in range(1, 6)] == [
        "applied",
        "skipped",
        "skipped",
        "skipped",
        "applied",
    ]
    for number in (2, 3, 4):
        assert "no NVIDIA GPU found" in layers[number]["reason"]


def test_both_firmwares_booted_and_the_clones_differ(built: Built) -> None:
    clones = manifest.read(built.work.manifest)["proof"]["clones"]
    assert [clone["firmware"] for clone in clones] == [plan.firmware for plan in boot_test.plans()]
    assert len({clone["machine_id"] for clone in clones}) == 2
    assert all(clone["grown_bytes"] > 0 for clone in clones)


def test_secure_boot_is_proven_where_this_machine_can(built: Built) -> None:
    proven = manifest.read(built.work.manifest)["proof"]["secure_boot"]["proven"]
    assert proven == firmware.has_secure_boot()


def test_the_report_and_the_log_are_there(built: Built) -> None:
    assert "<html" in built.work.report.read_text()
    log = built.work.log.read_text()
    assert "Stage 5" in log
    assert "PRIVATE KEY" not in log


def test_no_key_of_the_build_is_left(built: Built) -> None:
    assert not built.work.secrets.exists()


def test_nothing_of_the_build_still_runs(built: Built) -> None:
    folder = str(built.work.root)
    # Other tests' machines name the disks, and their validations the manifest.
    named = [str(link.disk) for link in built.store.links()] + [str(built.work.manifest)]
    for _, words in running():
        command = " ".join(words)
        for path in named:
            command = command.replace(path, "")
        assert folder not in command, command
    assert folder not in Path("/proc/mounts").read_text()


def test_the_links_are_whole_and_read_only(built: Built) -> None:
    links = built.store.current()
    assert [link.name for link in links] == ["base", "layer1", "layer5"]
    for link in links:
        qcow2.check(link.disk)
        assert link.disk.stat().st_mode & 0o222 == 0
    assert links[1].layer is not None
    assert links[1].layer.changed > 10
