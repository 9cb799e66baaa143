#!/usr/bin/python3 -IB
"""Prove inference with vLLM on this box: load, throughput, memory, output, the OpenAI server.

The model is a folder or a hub's id; without one a tiny model is made on the spot, whose weights
are random: it shows that the engine works, never that its output is good. This process needs
Python's own library only: vLLM and transformers run in children.
"""

import argparse
import contextlib
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ.get("CUBE_LIB", "/usr/local/lib/cube"))  # python3 -I leaves it out

from suite_process import (
    GRACE_S,
    WORKER,
    Ended,
    end_family,
    end_with_parent,
    family,
    hand_back,
    run_worker,
    say,
    worker_environment,
)
from suite_report import (
    CannotRun,
    Report,
    conduct,
    count_gpus,
    expected_gpus,
    find_python,
    is_simulated,
    make_parser,
    one_line,
    positive,
)

NAMES = (
    "environment", "devices", "model", "load", "throughput", "engine throughput", "memory",
    "agreement with transformers", "output quality", "server starts", "server completes",
    "server metrics", "server stops",
)  # fmt: skip

#: Tokens a second for one request. Source: the specification's gate for inference.
THROUGHPUT_LIMIT = 10.0
#: MiB of one GPU, or of all processes together on the processor. The specification's 32 GB is
#: what a card has, so nothing could exceed it: the cache is set to KV_GIB and the rest counted.
MEMORY_LIMIT_MIB = {"gpu": 30 * 1024, "cpu": 8 * 1024}
KV_GIB = {"gpu": 4, "cpu": 1}
#: Weights that are also loaded by transformers, MiB.
COMPARE_MIB = 6 * 1024
#: Tokens that must be the same from the start, for each of the prompts.
AGREEING_TOKENS = 8
#: Percent of the prompts: one in four may meet a tie, which rounding decides.
AGREEMENT_LIMIT = 75.0
#: Percent of the questions that must be answered; a model of half a billion parameters does.
QUALITY_LIMIT = 80.0
CONTEXT = 512
#: Seconds for the engine's load and all it generates, for transformers, and for the server.
LIMITS_S = {"engine": 900, "transformers": 600, "start": 600, "answer": 120, "end": 60}

PROMPTS = (
    "The machine reads the file and then", "A list of numbers is sorted by", "def main(",
    "The license of this program says that", "When the network is down, the client",
    "Each process has", "import os", "The first line of the text",
)  # fmt: skip
#: Questions with one right beginning of the answer, after examples of the form.
EXAMPLES = "Q: How many legs does a dog have?\nA: 4\n\nQ: Which planet do we live on?\nA: Earth\n\n"
QUESTIONS = (
    ("What is the capital of France?", "paris"),
    ("What is 2 + 3?", "5"),
    ("What is the opposite of hot?", "cold"),
    ("Which day comes after Monday?", "tuesday"),
    ("What color is the sky on a clear day?", "blue"),
    ("Which letter comes after A, B, C, D?", "e"),
    ("How many days are in a week?", "7|seven"),
    ("What is the capital of Japan?", "tokyo"),
    ("What is frozen water called?", "ice"),
    ("How many minutes are in an hour?", "60|sixty"),
)
OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|No available memory for the cache blocks"
    r"|Cannot allocate memory|is less than (?:desired|requested)|MemoryError|not enough memory",
    re.IGNORECASE,
)


# -- what runs in vLLM's environment


def probe(job: dict[str, Any]) -> None:
    """Say what vLLM is and which GPUs torch sees; transformers' version comes along."""
    from importlib.metadata import distributions

    import torch
    import vllm

    found = {one.metadata["Name"].lower(): one.version for one in distributions()}
    versions = {name: found[name] for name in ("transformers", "tokenizers") if name in found}
    cuda = torch.cuda.is_available()
    hand_back(
        job,
        {
            "versions": {
                "vllm": vllm.__version__,
                "torch": torch.__version__,
                **versions,
                "python": sys.version.split()[0],
                "cuda": torch.version.cuda or "",
            },
            "gpus": torch.cuda.device_count() if cuda else 0,
            "memory_mib": torch.cuda.get_device_properties(0).total_memory / 2**20 if cuda else 0,
        },
    )


def fetch(job: dict[str, Any]) -> None:
    """Find a model of a hub: in its local cache first, on the network only when asked to."""
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        folder = snapshot_download(job["model"], local_files_only=True)
    except Exception:
        if not job["online"]:
            raise
        say(f"fetching {job['model']}")
        folder = snapshot_download(job["model"], allow_patterns=patterns)
    hand_back(job, {"folder": folder})


def make_model(job: dict[str, Any]) -> None:
    """Make a tiny model: a tokenizer trained on local text, and a Llama of random weights."""
    import sysconfig

    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    texts = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=["<s>", "</s>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train([str(one) for one in texts], trainer)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=2 * CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
        # Spread, so that the likeliest token leads clearly and rounding does not choose it.
        initializer_range=0.1,
        tie_word_embeddings=False,
    )
    folder = Path(job["folder"])
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{"bos_token": "<s>", "eos_token": "</s>"}
    ).save_pretrained(folder)
    hand_back(job, {"folder": str(folder)})


def engine(job: dict[str, Any]) -> None:
    """Load the model and generate: one request, a batch, the prompts to compare, the questions."""
    from vllm import LLM, SamplingParams

    say("vLLM: loading the model")
    started = time.monotonic()
    more = {"kv_cache_memory_bytes": job["kv_gib"] << 30} if job["gpus"] else {}
    llm = LLM(
        model=job["folder"],
        dtype=job["dtype"],
        max_model_len=job["context"],
        seed=1,
        tensor_parallel_size=job["tensor_parallel"],
        enforce_eager=job["eager"],
        disable_log_stats=False,
        enable_prefix_caching=False,
        **more,
    )
    told: dict[str, Any] = {"load_seconds": time.monotonic() - started, "load_done": time.time()}
    say(f"vLLM: loaded in {told['load_seconds']:.0f} s")
    fixed = SamplingParams(temperature=0, max_tokens=job["tokens"], ignore_eos=True)
    llm.generate([PROMPTS[0]], fixed, use_tqdm=False)  # the first request compiles
    told["single"] = generate(llm, [PROMPTS[0]], fixed)
    told["batch"] = generate(llm, list(PROMPTS) * job["batch"], fixed)
    greedy = SamplingParams(temperature=0, max_tokens=AGREEING_TOKENS, ignore_eos=True)
    told["agreement"] = [
        {"prompt": list(one.prompt_token_ids), "tokens": list(one.outputs[0].token_ids)}
        for one in llm.generate(list(PROMPTS), greedy, use_tqdm=False)
    ]
    short = SamplingParams(temperature=0, max_tokens=12, stop=["\n"])
    asked = [f"{EXAMPLES}Q: {question}\nA:" for question, _ in QUESTIONS]
    told["answers"] = [one.outputs[0].text for one in llm.generate(asked, short, use_tqdm=False)]
    hand_back(job, told)


def generate(llm: Any, prompts: list[str], how: Any) -> dict[str, float]:
    """Generate, and measure by the wall clock and by the engine's own counters."""
    before, started = counters(llm), time.perf_counter()
    outputs = llm.generate(prompts, how, use_tqdm=False)
    seconds = time.perf_counter() - started
    after = counters(llm)
    tokens = sum(len(one.outputs[0].token_ids) for one in outputs)
    engine_tokens = after["tokens"] - before["tokens"]
    engine_seconds = after["seconds"] - before["seconds"]
    return {
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "engine_tokens": engine_tokens,
        "engine_request_seconds": engine_seconds,
    }


def counters(llm: Any) -> dict[str, float]:
    """Read how many tokens the engine made, and how long its requests took in all."""
    found = {one.name: one for one in llm.get_metrics()}
    return {
        "tokens": found["vllm:generation_tokens"].value,
        "seconds": found["vllm:e2e_request_latency_seconds"].sum,
    }


def compare(job: dict[str, Any]) -> None:
    """Generate greedily with transformers, from the very tokens that vLLM was given."""
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if job["gpus"] else "cpu"
    dtype = getattr(torch, job["dtype"])
    model = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=dtype).to(device).eval()
    found = []
    for one in job["agreement"]:
        tokens = torch.tensor([one["prompt"]], device=device)
        with torch.inference_mode():
            made = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                do_sample=False,
                max_new_tokens=AGREEING_TOKENS,
                min_new_tokens=AGREEING_TOKENS,
                pad_token_id=0,
            )
        found.append(made[0, tokens.shape[1] :].tolist())
    hand_back(job, {"tokens": found})


def serve(job: dict[str, Any]) -> None:
    """Become vLLM's OpenAI server."""
    sys.argv = ["api_server", *job["arguments"]]
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)


ACTS = {
    "probe": probe, "fetch": fetch, "make": make_model, "engine": engine, "compare": compare,
    "serve": serve,
}  # fmt: skip


# -- memory, while it runs


@dataclass(kw_only=True)
class Meter:
    """Looks twice a second at the most memory in use: of a GPU, or of our processes."""

    gpus: int
    series: list[tuple[float, float]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Look while the block runs."""
        thread = threading.Thread(target=self.look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stopped.set()
            thread.join(timeout=10)

    def look(self) -> None:
        """Take samples until stopped."""
        start = time.monotonic()
        while not self.stopped.wait(0.5):
            used = used_by_gpus() if self.gpus else used_by_family()
            if used is not None:
                self.series.append((round(time.monotonic() - start, 1), round(used, 1)))


def used_by_gpus() -> float | None:
    """Return the most memory in use on one GPU, MiB."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout
        return max(float(line) for line in told.splitlines())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def used_by_family() -> float | None:
    """Return the memory of all our processes, shared pages counted once, MiB."""
    total = 0
    for pid in family():
        with contextlib.suppress(OSError, ValueError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(one) for one in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE))
    return total / 1024 or None


# -- what is judged


def look_at_folder(folder: Path) -> tuple[str, float]:
    """Return what is wrong with a folder that should be a model, if anything, and its MiB."""
    if not folder.exists():
        return f"{folder} does not exist", 0
    if not folder.is_dir():
        return f"{folder} is not a folder: name the one with config.json in it", 0
    try:
        config = json.loads((folder / "config.json").read_text())
        assert isinstance(config, dict)
    except FileNotFoundError:
        return f"{folder} is not a model: it has no config.json", 0
    except (OSError, ValueError, AssertionError) as error:
        return f"{folder}/config.json cannot be read: {error}", 0
    if not config.get("architectures"):
        return f"{folder}/config.json names no architectures", 0
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    mib = sum(one.stat().st_size for one in weights) / 2**20
    return ("" if mib else f"{folder} has no weights (*.safetensors, *.bin)"), mib


def is_path(model: str) -> bool:
    """Return whether a model is named by its place; a hub's id is NAME or OWNER/NAME."""
    if model.startswith(".") or Path(model).expanduser().exists():
        return True
    return re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", model) is None


def explain(ended: Ended) -> str:
    """Say what went wrong; memory that ran out is called so."""
    killed = ended.code == -signal.SIGKILL  # by the kernel, where memory is short
    lines = [str(ended.result.get("error", "")), *ended.log.splitlines()]
    said = next((line for line in lines if OUT_OF_MEMORY.search(line)), None)
    if ended.code is not None and (killed or said):
        return (
            f"out of memory: {said or ended.fault}: stop what else uses it, or take a smaller model"
        )
    return ended.fault


def judge_speed(report: Report, told: dict[str, Any]) -> None:
    """Judge one request by the wall clock and by the engine's own counters."""
    one = told["single"]
    rate, limit = one["tokens_per_second"], THROUGHPUT_LIMIT
    detail = (
        f"{rate:.1f} tokens/s for one request by the wall clock,"
        f" {told['batch']['tokens_per_second']:.0f} for a batch; limit {limit:.0f}"
    )
    report.judge(rate > limit, "throughput", detail, (rate, limit, "tokens/s"))
    seconds = one["engine_request_seconds"]
    own = one["engine_tokens"] / seconds if seconds else 0.0
    same = one["engine_tokens"] == one["tokens"]
    detail = (
        f"{own:.1f} tokens/s by the engine's metrics ({one['engine_tokens']:.0f} tokens,"
        f" {one['tokens']:.0f} received); limit {limit:.0f}"
    )
    report.judge(own > limit and same, "engine throughput", detail, (own, limit, "tokens/s"))


def judge_memory(report: Report, meter: Meter, limit_mib: float) -> None:
    """Judge the most memory that was in use at once."""
    peak = max((used for _, used in meter.series), default=0.0)
    where = "on one GPU" if meter.gpus else "by all processes of the engine"
    if not peak:
        source = "nvidia-smi" if meter.gpus else "/proc"
        report.judge(False, "memory", f"could not be measured: {source} gave no answer")
        return
    report.figures["memory_peak_mib"] = peak
    report.figures["memory"] = {
        "seconds": [when for when, _ in meter.series],
        "used_mib": [used for _, used in meter.series],
    }
    detail = f"{peak:.0f} MiB {where} at the most, limit {limit_mib:.0f} MiB"
    report.judge(peak <= limit_mib, "memory", detail, (peak, limit_mib, "MiB"))


def judge_agreement(report: Report, ours: list[dict[str, Any]], ended: Ended) -> None:
    """Judge whether vLLM and transformers choose the same tokens."""
    name = "agreement with transformers"
    theirs = ended.result.get("tokens")
    if ended.code != 0 or not theirs:
        report.judge(False, name, explain(ended))
        return
    leading = [common(one["tokens"], other) for one, other in zip(ours, theirs, strict=True)]
    report.figures["agreeing_tokens"] = leading
    report.figures["distinct_tokens"] = len({token for one in ours for token in one["tokens"]})
    whole = sum(one >= AGREEING_TOKENS for one in leading)
    percent = 100 * whole / len(leading)
    detail = (
        f"{whole} of {len(leading)} prompts begin with the same {AGREEING_TOKENS} tokens, the"
        f" worst with {min(leading)}; limit {AGREEMENT_LIMIT:.0f} %"
    )
    good = percent >= AGREEMENT_LIMIT and min(leading) > 0
    report.judge(good, name, detail, (percent, AGREEMENT_LIMIT, "%"))


def common(one: list[int], other: list[int]) -> int:
    """Count the tokens that are the same from the start."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def judge_quality(report: Report, answers: list[str]) -> None:
    """Judge answers that can be checked."""
    right = [
        bool(re.match(rf"\W*(?:the |it is |it's )?(?:{wanted})\b", answer.strip(), re.IGNORECASE))
        for (_, wanted), answer in zip(QUESTIONS, answers, strict=True)
    ]
    percent = 100 * sum(right) / len(right)
    told = zip(QUESTIONS, answers, right, strict=True)
    wrong = [f"{question[0]} {answer.strip()!r}" for question, answer, good in told if not good]
    detail = f"{sum(right)} of {len(right)} answers are right, limit {QUALITY_LIMIT:.0f} %"
    report.judge(
        percent >= QUALITY_LIMIT,
        "output quality",
        "; ".join([detail, *wrong[:2]]),
        (percent, QUALITY_LIMIT, "%"),
    )


# -- the server


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port of loopback."""
    with socket.socket() as one:
        one.settimeout(2)
        return one.connect_ex(("127.0.0.1", port)) != 0


def ask(url: str, body: dict[str, Any] | None = None, timeout_s: float = 5.0) -> str:
    """Ask the server, past any proxy.

    Raises:
        OSError: there is no answer, or one that is an error.
    """
    data = json.dumps(body).encode() if body is not None else None
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, kind)  # noqa: S310 (a server of our own)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout_s) as answer:
        text: bytes = answer.read()
    return text.decode()


def judge_server(report: Report, python: str, job: dict[str, Any]) -> None:
    """Start the OpenAI server, ask it, stop it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = server_arguments(job, port)
    report.figures["server_arguments"] = arguments
    with tempfile.TemporaryDirectory(prefix="cube-suite-") as folder:
        output = Path(folder, "output")
        act = {"act": "serve", "arguments": arguments, "result": f"{folder}/result"}
        environment = worker_environment(python, act) | ENVIRONMENT | kv_environment(job)
        with output.open("wb") as stream:
            server = subprocess.Popen(
                [python, "-s", str(Path(__file__).resolve())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                cwd=folder,
            )
        say(f"server: starting on port {port}")
        try:
            started = time.monotonic()
            up = wait_for_server(server, url, LIMITS_S["start"])
            seconds = time.monotonic() - started
            log = output.read_text(errors="replace")
            report.figures["server_start_seconds"] = round(seconds, 1)
            if not up:
                report.figures["log_of_server"] = log[-4000:]
                ended = Ended(code=server.poll(), log=log, result={})
                report.need(False, "server starts", explain(ended))
            report.judge(True, "server starts", f"/health answers after {seconds:.0f} s")
            judge_answers(report, url, job["folder"])
            say("server: stopping")
            judge_end(report, server, port)
        finally:
            end_family()
            server.wait()


def server_arguments(job: dict[str, Any], port: int) -> list[str]:
    """Build the command line of the server."""
    more = ["--enforce-eager"] if job["eager"] else []
    if job["gpus"]:
        more += ["--kv-cache-memory-bytes", str(job["kv_gib"] << 30)]
    return [
        "--model",
        job["folder"],
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--dtype",
        job["dtype"],
        "--max-model-len",
        str(job["context"]),
        "--tensor-parallel-size",
        str(job["tensor_parallel"]),
        *more,
    ]


def wait_for_server(server: subprocess.Popen[bytes], url: str, limit_s: float) -> bool:
    """Wait until the server says that it is well, or has ended, or the limit is over."""
    deadline = time.monotonic() + limit_s
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            ask(f"{url}/health")
            return True
        time.sleep(0.5)
    return False


def judge_answers(report: Report, url: str, model: str) -> None:
    """Judge an answer to a completion, and what the metrics count of it."""
    tokens = 16
    body = {
        "model": model,
        "prompt": PROMPTS[0],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
    }
    started = time.monotonic()
    try:
        told = json.loads(ask(f"{url}/v1/completions", body, LIMITS_S["answer"]))
        made = int(told["usage"]["completion_tokens"])
        text = str(told["choices"][0]["text"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        report.judge(False, "server completes", f"/v1/completions: {type(error).__name__}: {error}")
    else:
        detail = f"{made} tokens of {tokens} in {time.monotonic() - started:.1f} s"
        report.judge(made == tokens and bool(text), "server completes", detail)
    try:
        text = ask(f"{url}/metrics")
    except OSError as error:
        report.judge(False, "server metrics", f"/metrics: {error}")
        return
    found = re.findall(r"^vllm:generation_tokens_total\{.*?\} ([\d.e+]+)", text, re.MULTILINE)
    counted = sum(float(one) for one in found)
    detail = f"{counted:.0f} generated tokens counted, {tokens} asked for"
    report.judge(counted >= tokens, "server metrics", detail)


def judge_end(report: Report, server: subprocess.Popen[bytes], port: int) -> None:
    """Judge whether SIGTERM ends the server, all its processes, and frees the port."""
    started = time.monotonic()
    server.terminate()
    try:
        server.wait(LIMITS_S["end"])
    except subprocess.TimeoutExpired:
        report.judge(False, "server stops", f"it still runs {LIMITS_S['end']} s after SIGTERM")
        return
    deadline = time.monotonic() + GRACE_S
    while (family() or not is_free(port)) and time.monotonic() < deadline:
        time.sleep(0.2)
    left = family()
    seconds = time.monotonic() - started
    detail = f"ended {seconds:.1f} s after SIGTERM, no process left, port {port} free"
    if left:
        detail = f"{len(left)} processes are left {GRACE_S:.0f} s after its end"
    elif not is_free(port):
        detail = f"port {port} is still taken {GRACE_S:.0f} s after its end"
    report.judge(not left and is_free(port), "server stops", detail)


# -- the suite

#: Offline first, nothing reported to anyone.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1",
}  # fmt: skip


def kv_environment(job: dict[str, Any]) -> dict[str, str]:
    """Return what sets the cache's size where no flag does."""
    return {} if job["gpus"] else {"VLLM_CPU_KVCACHE_SPACE": str(job["kv_gib"])}


def prove(report: Report, options: argparse.Namespace) -> None:
    """Find the model, generate, compare, serve."""
    python = find_python("vllm", options.python)
    say("looking at vLLM")
    seen = run_worker(__file__, python, {"act": "probe"}, 300, **ENVIRONMENT)
    if seen.code != 0 or "versions" not in seen.result:
        raise CannotRun(f"vLLM cannot be used with {python}: {seen.fault}")
    report.judge(True, "environment", f"vLLM {seen.result['versions']['vllm']}")
    report.versions |= {name: text for name, text in seen.result["versions"].items() if text}
    gpus = int(seen.result["gpus"])
    judge_devices(report, gpus)
    report.evidence = "simulated" if is_simulated() else "hardware" if gpus else "cpu"
    with tempfile.TemporaryDirectory(prefix="cube-model-") as folder:
        model = find_model(report, options, python, Path(folder))
        judge_model(report, options, python, make_job(options, gpus, model))


def judge_devices(report: Report, gpus: int) -> None:
    """Judge how many GPUs vLLM's torch sees; one that is there must not be passed over."""
    on_bus = count_gpus()
    if gpus == on_bus == 0:
        report.skip(
            "devices", "deferred: there is no GPU to see, and this run was on the processor"
        )
        return
    expected = expected_gpus(on_bus)
    detail = f"vLLM's torch sees {gpus} GPUs, expected {expected}, on the bus {on_bus}"
    report.need(gpus == expected, "devices", detail)


def find_model(report: Report, options: argparse.Namespace, python: str, scratch: Path) -> Path:
    """Return the folder of the model.

    Raises:
        Stop: it is no model, or cannot be had.
    """
    if options.model is None:
        say("making a tiny model")
        ended = run_worker(
            __file__, python, {"act": "make", "folder": str(scratch)}, 300, **ENVIRONMENT
        )
        if ended.code != 0:
            report.need(False, "model", ended.fault)
        folder, label = scratch, "tiny, of random weights, made on the spot"
    elif is_path(options.model):
        folder = Path(options.model).expanduser().absolute()
        label = str(folder)
    else:
        job = {"act": "fetch", "model": options.model, "online": options.online}
        more = ENVIRONMENT | {"HF_HUB_OFFLINE": "0" if options.online else "1"}
        ended = run_worker(__file__, python, job, options.fetch_limit, **more)
        if ended.code != 0:
            hint = (
                "cannot be fetched"
                if options.online
                else (
                    "is not in the local cache: name a folder, or let it be fetched with --online"
                )
            )
            report.need(False, "model", f"{options.model} {hint}: {ended.fault}")
        folder, label = Path(ended.result["folder"]), options.model
    wrong, mib = look_at_folder(folder)
    report.need(not wrong, "model", wrong or f"{label}, {mib:.0f} MiB of weights")
    report.figures |= {"model": options.model or "tiny", "weights_mib": round(mib, 1)}
    return folder


def tensor_parallel(asked: int | None, gpus: int, folder: Path) -> int:
    """Return over how many GPUs the model is split: all, where its heads can be divided."""
    if asked or not gpus:
        return asked or 1
    config = json.loads((folder / "config.json").read_text())
    heads = [config.get("num_attention_heads"), config.get("num_key_value_heads", gpus)]
    divides = all(isinstance(one, int) and one % gpus == 0 for one in heads)
    return gpus if divides else 1


def make_job(options: argparse.Namespace, gpus: int, folder: Path) -> dict[str, Any]:
    """Return what the engine, transformers and the server are started with."""
    return {
        "folder": str(folder),
        "gpus": gpus,
        "context": CONTEXT,
        "eager": options.quick or not gpus,
        "dtype": options.dtype or ("bfloat16" if gpus else "float32"),
        "tokens": 64 if options.quick else 256,
        "batch": 1 if options.quick else 4,
        "kv_gib": options.kv_gib or KV_GIB["gpu" if gpus else "cpu"],
        "tensor_parallel": tensor_parallel(options.tensor_parallel, gpus, folder),
    }


def judge_model(
    report: Report, options: argparse.Namespace, python: str, job: dict[str, Any]
) -> None:
    """Run the engine, transformers and the server on a model."""
    kind = "gpu" if job["gpus"] else "cpu"
    report.figures |= {name: job[name] for name in ("dtype", "kv_gib", "tensor_parallel", "tokens")}
    meter = Meter(gpus=job["gpus"])
    with meter.running():
        told = run_worker(
            __file__,
            python,
            job | {"act": "engine"},
            options.limit or LIMITS_S["engine"],
            **ENVIRONMENT,
            **kv_environment(job),
        )
    good = told.code == 0 and "answers" in told.result
    if not good:
        report.figures["log_of_engine"] = told.log[-4000:]
        report.need(False, "load", explain(told))
    seconds = told.result["load_seconds"]
    detail = f"in {seconds:.0f} s, {job['dtype']}, on {job['tensor_parallel']} {kind.upper()}"
    report.judge(True, "load", detail)
    report.figures |= {"load_seconds": round(seconds, 1)}
    report.figures |= {name: told.result[name] for name in ("single", "batch")}
    judge_speed(report, told.result)
    judge_memory(report, meter, options.memory_limit or MEMORY_LIMIT_MIB[kind])
    agree(report, python, job | {"agreement": told.result["agreement"]})
    if options.model is None:
        reason = "deferred: the tiny model has random weights: name a real one with --model"
        report.skip("output quality", reason)
    else:
        judge_quality(report, told.result["answers"])
    judge_server(report, python, job)


def agree(report: Report, python: str, job: dict[str, Any]) -> None:
    """Compare with transformers, where the model is small enough to be loaded by it too."""
    mib = report.figures["weights_mib"]
    if mib > COMPARE_MIB:
        reason = f"{mib:.0f} MiB of weights: transformers loads models up to {COMPARE_MIB} MiB"
        report.skip("agreement with transformers", reason)
        return
    say("transformers: generating the same")
    ended = run_worker(
        __file__, python, job | {"act": "compare"}, LIMITS_S["transformers"], **ENVIRONMENT
    )
    judge_agreement(report, job["agreement"], ended)


def main() -> int:
    """Read the command line, and judge."""
    if WORKER in os.environ:
        end_with_parent()
        job = json.loads(os.environ[WORKER])
        del os.environ[WORKER]  # the engine starts this file again, in its own processes
        try:
            ACTS[job["act"]](job)
        except Exception as error:
            hand_back(job, {"error": f"{type(error).__name__}: {one_line(str(error))}"})
            raise
        return 0
    parser = make_parser("Judge vLLM: load, throughput, memory, output, the OpenAI server.")
    parser.add_argument("--model", help="folder or hub id; none: a tiny one is made")
    parser.add_argument("--online", action="store_true", help="a model that is not here is fetched")
    parser.add_argument("--python", help="interpreter that has vLLM, not the environment's own")
    parser.add_argument(
        "--dtype", choices=("bfloat16", "float16", "float32"), help="of the weights"
    )
    parser.add_argument("--kv-gib", type=positive, help="GiB of the cache for keys and values")
    parser.add_argument(
        "--memory-limit", type=positive, help="MiB that a GPU, or all processes, may use"
    )
    parser.add_argument(
        "--tensor-parallel", type=positive, help="GPUs that share the model; none: all"
    )
    parser.add_argument("--limit", type=positive, help="seconds until the engine counts as hung")
    parser.add_argument(
        "--fetch-limit", type=positive, default=3600, help="seconds for fetching a model"
    )
    options = parser.parse_args()
    report = Report(check="vllm", names=NAMES, quiet=options.json)
    return conduct(report, lambda: prove(report, options))


if __name__ == "__main__":
    sys.exit(main())
