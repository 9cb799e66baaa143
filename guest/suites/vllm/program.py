"""test-vllm-inference.py: load, throughput, memory, output and the OpenAI server of vLLM.

The model is a folder or a hub's id; without one a tiny model is made on the spot, whose weights
are random: it shows that the engine works, never that its output is good.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from guest.suites.command_line import conduct, make_parser, positive
from guest.suites.environment import check_devices, evidence, find_python, gpus_on_bus, probe
from guest.suites.processes import Worker, say
from guest.suites.report import Report
from guest.suites.sampler import Sampler
from guest.suites.vllm.checks import check_agreement, check_quality, check_speed, explain
from guest.suites.vllm.memory import (
    MEMORY_LIMIT_MIB,
    check_memory,
    used_by_family,
    used_by_gpus,
)
from guest.suites.vllm.model import find_model, tensor_parallel
from guest.suites.vllm.server import check_server
from guest.suites.vllm.tiny_model import CONTEXT
from guest.suites.vllm.worker import MODULE

PROGRAM = "test-vllm-inference.py"

NAMES = (
    "environment", "devices", "model", "load", "throughput", "engine throughput", "memory",
    "agreement with transformers", "output quality", "server starts", "server completes",
    "server metrics", "server stops",
)  # fmt: skip


#: GiB of the cache for keys and values.
KV_GIB = {"gpu": 4, "cpu": 1}
#: Weights that are also loaded by transformers, MiB.
COMPARE_MIB = 6 * 1024
#: Seconds for the engine's load and all it generates, and for transformers.
LIMITS_S = {"engine": 900, "transformers": 600}
#: Seconds between two samples of the memory in use.
PAUSE_S = 0.5
#: Offline first, nothing reported to anyone.
VARIABLES = {
    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1",
}  # fmt: skip


def main() -> int:
    """Read the command line, and check."""
    options = read_options()
    report = Report(check="vllm", names=NAMES, live=not options.json)
    return conduct(PROGRAM, report, lambda: prove(report, options))


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(
        PROGRAM, "Check vLLM: load, throughput, memory, output, the OpenAI server."
    )
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
    return parser.parse_args()


def prove(report: Report, options: argparse.Namespace) -> None:
    """Find the model, generate, compare, serve."""
    python = find_python("vllm", options.python)
    worker = Worker(module=MODULE, python=python, variables=VARIABLES)
    say("looking at vLLM")
    gpus = int(probe(report, worker, "vLLM")["gpus"])
    if gpus == gpus_on_bus() == 0:
        reason = "deferred: there is no GPU to see, and this run was on the processor"
        report.skip("devices", reason)
    else:
        check_devices(report, "vLLM's torch", gpus)
    report.evidence = evidence(gpus)
    with tempfile.TemporaryDirectory(prefix="cube-model-") as folder:
        model = find_model(report, options, worker, Path(folder))
        job = make_job(options, gpus, model)
        check_model(report, options, worker.having(**kv_environment(job)), job)


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


def kv_environment(job: dict[str, Any]) -> dict[str, str]:
    """Return what sets the cache's size where no flag does."""
    return {} if job["gpus"] else {"VLLM_CPU_KVCACHE_SPACE": str(job["kv_gib"])}


def check_model(
    report: Report, options: argparse.Namespace, worker: Worker, job: dict[str, Any]
) -> None:
    """Run the engine, transformers and the server on a model."""
    report.figures |= {name: job[name] for name in ("dtype", "kv_gib", "tensor_parallel", "tokens")}
    told = run_engine(report, options, worker, job)
    check_speed(report, told)
    agree(report, worker, job | {"agreement": told["agreement"]})
    if options.model is None:
        reason = "deferred: the tiny model has random weights: name a real one with --model"
        report.skip("output quality", reason)
    else:
        check_quality(report, told["answers"])
    check_server(report, worker, job)


def run_engine(
    report: Report, options: argparse.Namespace, worker: Worker, job: dict[str, Any]
) -> dict[str, Any]:
    """Load the model, generate, and return what the engine did.

    Raises:
        Stop: it failed.
    """
    kind = "gpu" if job["gpus"] else "cpu"
    read = used_by_gpus if job["gpus"] else used_by_family
    sampler = Sampler(read=read, pause_s=PAUSE_S)
    with sampler.running():
        ended = worker.run(job | {"act": "engine"}, options.limit or LIMITS_S["engine"])
    told = ended.result
    if ended.code != 0 or "answers" not in told:
        report.figures["log_of_engine"] = ended.log[-4000:]
        report.require("load", good=False, detail=explain(ended))
    seconds = told["load_seconds"]
    detail = f"in {seconds:.0f} s, {job['dtype']}, on {job['tensor_parallel']} {kind.upper()}"
    report.record("load", good=True, detail=detail)
    report.figures |= {"load_seconds": round(seconds, 1)}
    report.figures |= {name: told[name] for name in ("single", "batch")}
    limit_mib = options.memory_limit or MEMORY_LIMIT_MIB[kind]
    check_memory(report, sampler.samples, limit_mib, gpus=job["gpus"])
    return told


def agree(report: Report, worker: Worker, job: dict[str, Any]) -> None:
    """Compare with transformers, where the model is small enough to be loaded by it too."""
    mib = report.figures["weights_mib"]
    if mib > COMPARE_MIB:
        reason = f"{mib:.0f} MiB of weights: transformers loads models up to {COMPARE_MIB} MiB"
        report.skip("agreement with transformers", reason)
        return
    say("transformers: generating the same")
    ended = worker.run(job | {"act": "compare"}, LIMITS_S["transformers"])
    check_agreement(report, job["agreement"], ended)
