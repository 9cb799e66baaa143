"""The suites with real frameworks on this machine's processor.

The quick forms are part of every run of the tests; `make test-workloads` runs the rest. Docker, and
all of it on one box, are in test_workloads_box.py.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.workloads import GUEST, Environments, Told, run_suite, suite_argv
from tests.processes import environment_of, running

PYTORCH, TENSORFLOW, VLLM = (
    f"test-{name}.py" for name in ("pytorch-ddp", "tensorflow-gpu", "vllm-inference")
)
#: What only GPUs, or a model that has learnt something, can show.
DEFERRED = {
    PYTORCH: {"devices", "GPUs alike", "scaling efficiency", "utilisation"},
    TENSORFLOW: {"GPU architecture"},
    VLLM: {"devices", "output quality"},
}
#: vLLM's build for processors brings torch's own.
ENVIRONMENTS = {PYTORCH: "vllm", TENSORFLOW: "tensorflow", VLLM: "vllm"}


def passes_on_the_processor(told: Told, suite: str) -> None:
    assert told.details("FAIL") == {}
    assert (told.code, told.data["outcome"], told.data["evidence"]) == (0, "pass", "cpu")
    skipped = told.details("SKIP")
    assert set(skipped) == DEFERRED[suite]
    assert all(text.startswith("deferred: ") for text in skipped.values())
    assert told.data["counts"]["ok"] == len(told.data["checks"]) - len(skipped)


@pytest.mark.parametrize("suite", [PYTORCH, TENSORFLOW, VLLM])
def test_the_quick_form_passes(environments: Environments, suite: str) -> None:
    told = run_suite(suite, environments.python(ENVIRONMENTS[suite]), "--quick")
    passes_on_the_processor(told, suite)


# -- the full form: make test-workloads


@pytest.mark.workloads
@pytest.mark.parametrize("suite", [PYTORCH, TENSORFLOW, VLLM])
def test_the_full_form_passes(environments: Environments, suite: str) -> None:
    told = run_suite(suite, environments.python(ENVIRONMENTS[suite]))
    passes_on_the_processor(told, suite)


@pytest.fixture
def four_gpus(tmp_path: Path) -> dict[str, str]:
    """Variables of a simulated box with four busy GPUs; its ranks are real, on the processor."""
    for index in range(4):
        device = tmp_path / f"root/sys/bus/pci/devices/0000:0{index}:00.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text("0x10de\n")
        (device / "class").write_text("0x030000\n")
    smi = tmp_path / "bin/nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\nfor gpu in 0 1 2 3; do echo $gpu, 98, 550.1, 71, 30000; done\n")
    smi.chmod(0o755)
    return {"CUBE_ROOT": str(tmp_path / "root"), "PATH": f"{smi.parent}:{os.environ['PATH']}"}


@pytest.mark.workloads
@pytest.mark.parametrize(
    ("slow", "failed"), [([], set()), (["--slow-rank=2"], {"GPUs alike", "scaling efficiency"})]
)
def test_a_slow_rank_is_found_by_its_scaling(
    environments: Environments, four_gpus: dict[str, str], slow: list[str], failed: set[str]
) -> None:
    python = environments.python("vllm")
    told = run_suite(PYTORCH, python, "--simulate-gpus", "4", *slow, **four_gpus)
    assert set(told.details("FAIL")) == failed
    assert told.data["evidence"] == "simulated"


@pytest.mark.workloads
def test_a_cache_that_does_not_fit_is_called_out_of_memory(environments: Environments) -> None:
    told = run_suite(VLLM, environments.python("vllm"), "--quick", "--kv-gib", "100000")
    assert told.code == 1
    assert told.details("FAIL")["load"].startswith("out of memory: ")


@pytest.mark.workloads
def test_an_engine_ends_with_its_suite(environments: Environments) -> None:
    python = environments.python("vllm")
    with subprocess.Popen(
        suite_argv(VLLM, python, "--quick"),
        env=os.environ | {"MARK": "ends-with-its-suite"},
        stderr=subprocess.PIPE,
        text=True,
        stdout=subprocess.DEVNULL,
    ) as suite:
        assert suite.stderr
        assert any("loading the model" in line for line in suite.stderr)
        deadline = time.monotonic() + 60
        while len(marked()) < 3 and time.monotonic() < deadline:  # the suite, a worker, its engine
            time.sleep(0.2)
        suite.send_signal(signal.SIGTERM)
        assert suite.wait(timeout=60) == 128 + signal.SIGTERM
    assert marked() == []


def marked() -> list[str]:
    """Return the living processes that carry the mark."""
    mark = "MARK=ends-with-its-suite"
    return [" ".join(words) for pid, words in running() if mark in environment_of(pid)]


#: Teaches the tiny model the answers by heart, so that there is a model that answers.
TEACH = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from guest.suites.vllm.prompts import EXAMPLES, QUESTIONS
from guest.suites.vllm.tiny_model import make_model
folder = sys.argv[2]
make_model({"folder": folder, "result": folder + ".json"})
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(folder, pad_token="</s>")
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
asked = [f"{EXAMPLES}Q: {q}\\nA: {a.split('|')[0]}\\n" for q, a in QUESTIONS]
rows = tokenizer(asked, return_tensors="pt", padding=True, return_token_type_ids=False)
labels = rows.input_ids.masked_fill(rows.attention_mask == 0, -100)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in range(100):
    loss = model(**rows, labels=labels).loss
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    if loss.item() < 0.05: break
print(step, loss.item())
model.save_pretrained(folder)
"""


@pytest.mark.workloads
def test_a_model_that_answers_passes_the_questions(
    environments: Environments, tmp_path: Path
) -> None:
    python = environments.python("vllm")
    folder = tmp_path / "model"
    folder.mkdir()
    subprocess.run([python, "-c", TEACH, GUEST.parent, folder], check=True, timeout=600)
    told = run_suite(VLLM, python, "--quick", "--model", str(folder))
    assert told.details("FAIL") == {}
    assert "10 of 10" in told.details("OK")["output quality"]
