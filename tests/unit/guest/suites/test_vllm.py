"""test-vllm-inference.py: models, what it makes of engines, and a server for real."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from guest.suites import processes
from guest.suites.processes import Ended, Worker
from guest.suites.report import Report
from guest.suites.vllm import model as models
from guest.suites.vllm import server
from guest.suites.vllm.checks import explain
from guest.suites.vllm.program import NAMES
from guest.suites.vllm.prompts import QUESTIONS
from guest.suites.vllm.worker import MODULE
from tests.unit.guest.conftest import Box, failed, statuses

from .running import detail, judge

SPEED = {
    "tokens": 64, "seconds": 0.5, "tokens_per_second": 128.0, "engine_tokens": 64,
    "engine_request_seconds": 0.49,
}  # fmt: skip
RIGHT = [
    "Paris",
    " 5",
    "Cold.",
    "Tuesday",
    "the blue",
    "E",
    "seven days",
    "It is Tokyo",
    "Ice",
    "60",
]
TOKENS = [[*range(n, n + 8)] for n in range(8)]


def results(gpus: int = 0, **engine: Any) -> dict[str, Any]:
    answered = {
        "load_seconds": 30.0,
        "single": SPEED,
        "batch": SPEED,
        "answers": RIGHT,
        "agreement": [{"prompt": [1, 2], "tokens": one} for one in TOKENS],
        **engine,
    }
    return {
        "probe": {"result": {"versions": {"vllm": "0.32.0"}, "gpus": gpus, "memory_mib": 0}},
        "engine": {"result": answered, "seconds": 0.7},
        "compare": {"result": {"tokens": TOKENS}},
        "serve": {"code": 1, "log": "OSError: cannot serve"},
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 8}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"x" * 2**20)
    return folder


def run(box: Box, model: object, table: Any, *more: str) -> tuple[int, dict[str, Any]]:
    return judge(box, "vllm", table, "--quick", "--model", str(model), *more)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda one: (one / "config.json").unlink(), "is not a model: it has no config.json"),
        (lambda one: (one / "model.safetensors").unlink(), "has no weights"),
        (lambda one: (one / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda one: (one / "config.json").write_text("{}"), "names no architectures"),
        (lambda one: (one / "config.json").write_text("[]"), "config.json cannot be read"),
        (lambda one: [f.unlink() for f in one.iterdir()] and one.rmdir(), "does not exist"),
    ],
)
def test_what_is_not_a_model_is_named(box: Box, model: Path, spoil: Any, words: str) -> None:
    spoil(model)
    code, data = run(box, model, results())
    assert (code, failed(data)) == (1, ["model"])
    assert words in detail(data, "model")
    assert str(model) in detail(data, "model")
    assert set(statuses(data)) == set(NAMES)


def test_a_file_is_not_a_model(box: Box, model: Path) -> None:
    _, data = run(box, model / "config.json", results())
    assert "is not a folder" in detail(data, "model")


def test_a_hub_s_model_that_is_not_here_is_not_fetched_unasked(box: Box) -> None:
    table = results() | {"fetch": {"code": 1, "result": {"error": "LocalEntryNotFoundError: no"}}}
    _, data = run(box, "some/model", table)
    assert detail(data, "model").startswith("some/model is not in the local cache: name a folder")


def test_an_engine_is_judged_up_to_its_server(box: Box, model: Path) -> None:
    code, data = run(box, model, results())
    assert (code, failed(data)) == (1, ["server starts"])
    assert detail(data, "server starts") == "exit code 1: OSError: cannot serve"
    for name in ("load", "throughput", "engine throughput", "memory", "output quality"):
        assert statuses(data)[name] == "OK"
    assert data["figures"]["memory_peak_mib"] > 0


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (results(single=SPEED | {"tokens_per_second": 9.5}), "throughput"),
        (results(single=SPEED | {"engine_request_seconds": 8.0}), "engine throughput"),
        (results(single=SPEED | {"engine_tokens": 63}), "engine throughput"),
        (results(single=SPEED | {"engine_request_seconds": 0}), "engine throughput"),
        (results(answers=[*RIGHT[:7], "no", "no", "no"]), "output quality"),
        (
            results() | {"compare": {"result": {"tokens": TOKENS[::-1]}}},
            "agreement with transformers",
        ),
        (results() | {"compare": {"code": 1}}, "agreement with transformers"),
        (results() | {"engine": {"code": 1, "log": "no"}}, "load"),
        (results(gpus=1), "devices"),
    ],
)
def test_each_fault_fails_its_own_check(box: Box, model: Path, table: Any, name: str) -> None:
    code, data = run(box, model, table)
    assert code == 1
    assert [one for one in failed(data) if one != "server starts"] == [name]


def test_memory_is_judged_against_its_limit(box: Box, model: Path) -> None:
    _, data = run(box, model, results(), "--memory-limit", "1")
    assert "memory" in failed(data)
    assert "limit 1 MiB" in detail(data, "memory")


def test_memory_on_gpus_that_nobody_tells_is_a_failure(box: Box, model: Path) -> None:
    box.plug_gpus(4)
    box.fake("nvidia-smi", "no driver", code=9)
    _, data = run(box, model, results(gpus=4))
    assert failed(data) == ["memory", "server starts"]


@pytest.mark.parametrize(
    "log",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB",
        "ValueError: No available memory for the cache blocks. Try increasing it",
        "(Worker) ValueError: Available memory on node 0 (1.0/23.5 GiB) on kv cache allocation is"
        " less than requested memory for kv (100000 GiB).\nRuntimeError: See root cause above.",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory",
    ],
)
def test_out_of_memory_is_called_so(box: Box, model: Path, log: str) -> None:
    _, data = run(box, model, results() | {"engine": {"code": 1, "log": log}})
    assert detail(data, "load").startswith("out of memory: ")


def test_a_process_that_the_kernel_killed_was_short_of_memory() -> None:
    assert explain(Ended(code=-9, log="", result={})).startswith("out of memory")


def test_a_large_model_is_not_loaded_twice(box: Box, model: Path) -> None:
    with (model / "model.safetensors").open("wb") as file:
        file.truncate(7 * 2**30)  # sparse
    _, data = run(box, model, results())
    assert statuses(data)["agreement with transformers"] == "SKIP"
    assert "7168 MiB" in detail(data, "agreement with transformers")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("meta/llama-3", False), ("gpt2", False), ("/data/llama", True), ("./llama", True),
        ("~/llama", True), ("a/b/c", True), ("no such", True),
    ],
)  # fmt: skip
def test_paths_and_ids(name: str, path: bool) -> None:
    assert models.is_path(name) is path


@pytest.mark.parametrize(
    ("heads", "gpus", "asked", "parts"),
    [((32, 8), 4, None, 4), ((14, 2), 4, None, 1), ((8, 4), 0, None, 1), ((8, 4), 4, 2, 2)],
)
def test_a_model_is_split_where_its_heads_can_be(
    model: Path, heads: tuple[int, int], gpus: int, asked: int | None, parts: int
) -> None:
    config = dict(zip(("num_attention_heads", "num_key_value_heads"), heads, strict=True))
    (model / "config.json").write_text(json.dumps(config))
    assert models.tensor_parallel(asked, gpus, model) == parts


@pytest.mark.parametrize("answer", ["Berlin", "not Paris", "", "Parisian"])
def test_a_wrong_answer_is_wrong(answer: str) -> None:
    wanted = QUESTIONS[0][1]
    pattern = rf"\W*(?:the |it is |it's )?(?:{wanted})\b"
    assert not re.match(pattern, answer, re.IGNORECASE)


#: Answers as vLLM's server does, and ends when it is told to, or does not.
SERVER = """
import http.server, json, os, signal, sys, threading
if os.environ.get("STUBBORN"): signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = 'vllm:generation_tokens_total{engine="0"} ' + os.environ.get("COUNTED", "16.0")
        self.say(text if self.path == "/metrics" else "")
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tokens = int(os.environ.get("TOKENS", asked["max_tokens"]))
        self.say(json.dumps({"choices": [{"text": "x"}], "usage": {"completion_tokens": tokens}}))
    def say(self, text):
        self.send_response(200); self.end_headers(); self.wfile.write(text.encode())
    def log_message(self, *args): pass
port = int(sys.argv[1])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, []),
        ({"TOKENS": "3"}, ["server completes"]),
        ({"COUNTED": "0.0"}, ["server metrics"]),
        ({"STUBBORN": "1"}, ["server stops"]),
    ],
)
def test_a_server_is_started_asked_and_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], names: list[str]
) -> None:
    fake = tmp_path / "python"
    (tmp_path / "server.py").write_text(SERVER)
    reads_port = "import json, os; a = json.loads(os.environ['CUBE_SUITE_WORKER'])['arguments'];"
    reads_port += " print(a[a.index('--port') + 1])"
    fake.write_text(f'#!/bin/sh\nexec python3 {tmp_path}/server.py $(python3 -c "{reads_port}")\n')
    fake.chmod(0o755)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for module in (server, processes):
        monkeypatch.setattr(module, "GRACE_S", 1.0)
    monkeypatch.setitem(server.LIMITS_S, "end", 1)
    report = Report(check="vllm", names=NAMES)
    job = {
        "folder": "m",
        "gpus": 0,
        "eager": True,
        "dtype": "float32",
        "context": 8,
        "tensor_parallel": 1,
        "kv_gib": 1,
    }
    worker = Worker(module=MODULE, python=str(fake))
    server.check_server(report, worker, job)
    assert [name for name, one in report.checks.items() if one["status"] == "FAIL"] == names
    assert len(report.checks) == 4
