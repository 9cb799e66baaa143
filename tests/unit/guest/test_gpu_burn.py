"""The load of validate-gpus.sh, with a PyTorch that is made up: its events and its end."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import VALIDATION

START = "import sys; sys.path[:0] = sys.argv[1:]; import gpu_burn; sys.exit(gpu_burn.main())"
TORCH = """
    import time

    __version__ = "2.13.0+made-up"
    uint8 = float16 = None

    class Tensor:
        def copy_(self, other, non_blocking): time.sleep(0.01)
        def view(self, size): return self
        def numel(self): return 1
        def __getitem__(self, key): return self

    def empty(*size, **more): return Tensor()
    randn = empty

    def mm(left, right, out):
        time.sleep(0.001)
        BROKEN

    class cuda:
        @staticmethod
        def device_count(): return GPUS
        @staticmethod
        def synchronize(gpu): pass
"""
OUT_OF_MEMORY = 'raise RuntimeError("CUDA out of memory. Tried to allocate 128 MiB.\\n more")'


class Burn:
    """A load that runs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def event(self) -> dict[str, Any]:
        """Return the next event."""
        assert self.process.stdout
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told

    def end(self) -> int:
        """Close its input and wait for it."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(timeout=20)


@pytest.fixture
def burn(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Burn]:
    """A load on a made-up PyTorch: its GPUs, and what a product does."""
    gpus, broken = request.param
    text = textwrap.dedent(TORCH).replace("GPUS", str(gpus)).replace("BROKEN", broken)
    (tmp_path / "torch.py").write_text(text)
    command = [sys.executable, "-IB", "-c", START, str(tmp_path), str(VALIDATION)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        yield Burn(process)
        process.kill()


@pytest.mark.parametrize("burn", [(4, "pass")], indirect=True)
def test_it_measures_then_burns_until_its_input_ends(burn: Burn) -> None:
    assert burn.event() == {"event": "start", "torch": "2.13.0+made-up", "gpus": 4}
    for gpu in range(4):
        told = burn.event()
        assert (told["event"], told["gpu"]) == ("bandwidth", gpu)
        assert 0 < told["to_gpu_gb_per_second"] <= 512 * 2**20 / 0.01 / 1e9
    assert burn.event() == {"event": "busy"}
    assert burn.process.poll() is None
    assert burn.end() == 0
    done = burn.event()
    assert done["event"] == "done"
    assert all(products > 0 for products in done["products"])


@pytest.mark.parametrize("burn", [(1, OUT_OF_MEMORY)], indirect=True)
def test_a_gpu_that_fails_is_named_in_one_line(burn: Burn) -> None:
    assert [burn.event()["event"] for _ in range(2)] == ["start", "bandwidth"]
    detail = "GPU 0: CUDA out of memory. Tried to allocate 128 MiB."
    assert burn.event() == {"event": "error", "detail": detail}
    assert burn.process.wait(timeout=20) == 1


@pytest.mark.parametrize("burn", [(0, "pass")], indirect=True)
def test_a_pytorch_without_gpus_is_an_error(burn: Burn) -> None:
    assert burn.event()["gpus"] == 0
    assert burn.event()["detail"] == "PyTorch 2.13.0+made-up sees no GPU"
    assert burn.process.wait(timeout=20) == 1
