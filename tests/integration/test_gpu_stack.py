"""An image with the GPU stack, from real packages and without a GPU: `make test-gpu-stack`.

Driver 550 and CUDA 12.4 are what Debian 13 itself carries; NVIDIA's own archive is not needed.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from cube import config
from cube.config.workspace import Workspace
from tests.integration.conftest import PROJECT, Built

pytestmark = pytest.mark.gpu_stack

#: Seconds for the build: gigabytes are fetched, and two clones boot without KVM.
BUILD_S = 7200

#: What the shipped cube.toml says, and what this image wants instead.
CHANGES = {
    'mode = "auto" ': 'mode = "assume" ',
    'model = "rtx-5090"': 'model = "rtx-4090"',
    'profile = "cube"': 'profile = "specification"',
    'source = "nvidia"': 'source = "distribution"',
    "enabled = [1, 2, 3, 4, 5]": "enabled = [1, 2, 5]",
}


@dataclass(frozen=True)
class Image:
    """An image with layers 1, 2 and 5."""

    work: Workspace
    output: str

    @property
    def manifest(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.work.manifest.read_text())
        return data

    def outcomes(self, group: str) -> dict[str, str]:
        results = self.manifest["checks"]["results"]
        return {one["title"]: one["outcome"] for one in results if one["group"] == group}


@pytest.fixture(scope="module")
def image(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A build that goes on from the base and layer 1 of the session's own."""
    folder = tmp_path_factory.mktemp("gpu-stack")
    text = (PROJECT / "cube.toml").read_text().replace('dir = "build"', f'dir = "{folder}/build"')
    for before, after in CHANGES.items():
        assert before in text, before
        text = text.replace(before, after)
    file = folder / "cube.toml"
    file.write_text(text)
    work = Workspace.of(config.load(file))
    work.root.mkdir(parents=True)
    shutil.copytree(built.work.chain, work.chain, symlinks=True)
    done = subprocess.run(
        [sys.executable, "-m", "cube", "build", "--plain", "--spec", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_S,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    return Image(work, done.stderr)  # progress goes there


def test_the_decision_is_told_and_kept(image: Image) -> None:
    reason = 'gpu.mode = "assume": built for 4 x rtx-4090; what needs a GPU is deferred'
    assert f"layer 2 applies: {reason}" in image.output
    layer2 = image.manifest["layers"][1]
    assert (layer2["number"], layer2["status"], layer2["reason"]) == (2, "applied", reason)


def test_base_and_layer_1_are_reused(image: Image) -> None:
    reused = [link["name"] for link in image.manifest["links"] if link["reused"]]
    assert reused == ["base", "layer1"]


def test_what_needs_a_gpu_is_deferred_and_the_rest_passes(image: Image) -> None:
    outcomes = image.outcomes("layer2")
    deferred = [title for title, outcome in outcomes.items() if outcome == "deferred"]
    assert deferred, outcomes
    assert set(outcomes.values()) == {"passed", "deferred"}
    assert image.manifest["status"] == "built"


def test_the_driver_and_cuda_are_among_the_versions(image: Image) -> None:
    packages = image.manifest["packages"]
    assert packages["nvidia-kernel-dkms"].startswith("550.")
    assert packages["nvidia-cuda-toolkit"].startswith("12.4.")
