"""What runs in vLLM's environment, each part in a process of its own."""

import runpy
import sys
from typing import Any

from guest.suites.processes import say
from guest.suites.vllm.engine import compare, engine
from guest.suites.vllm.tiny_model import make_model
from guest.suites.work import do_job, hand_back, python_version

MODULE = "suites.vllm.worker"


def main() -> int:
    """Do a job."""
    return do_job(ACTS)


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
                "python": python_version(),
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


def serve(job: dict[str, Any]) -> None:
    """Become vLLM's OpenAI server."""
    sys.argv = ["api_server", *job["arguments"]]
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)


ACTS = {
    "probe": probe, "fetch": fetch, "make": make_model, "engine": engine, "compare": compare,
    "serve": serve,
}  # fmt: skip
