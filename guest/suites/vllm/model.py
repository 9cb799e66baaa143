"""The model: a folder, one of a hub, or one that is made on the spot."""

import argparse
import json
import re
from pathlib import Path

from guest.suites.processes import Worker, say
from guest.suites.report import Report

#: Seconds for making a tiny model.
MAKE_LIMIT_S = 300


def find_model(report: Report, options: argparse.Namespace, worker: Worker, scratch: Path) -> Path:
    """Return the folder of the model.

    Raises:
        Stop: it is no model, or cannot be had.
    """
    if options.model is None:
        folder, label = make(report, worker, scratch), "tiny, of random weights, made on the spot"
    elif is_path(options.model):
        folder = Path(options.model).expanduser().absolute()
        label = str(folder)
    else:
        folder, label = fetch(report, options, worker), options.model
    wrong, mib = look_at_folder(folder)
    report.require("model", good=not wrong, detail=wrong or f"{label}, {mib:.0f} MiB of weights")
    report.figures |= {"model": options.model or "tiny", "weights_mib": round(mib, 1)}
    return folder


def make(report: Report, worker: Worker, scratch: Path) -> Path:
    """Make a tiny model in a folder.

    Raises:
        Stop: it cannot be made.
    """
    say("making a tiny model")
    ended = worker.run({"act": "make", "folder": str(scratch)}, MAKE_LIMIT_S)
    if ended.code != 0:
        report.require("model", good=False, detail=ended.fault)
    return scratch


def fetch(report: Report, options: argparse.Namespace, worker: Worker) -> Path:
    """Return the folder of a hub's model, which is fetched if that is allowed.

    Raises:
        Stop: it cannot be had.
    """
    job = {"act": "fetch", "model": options.model, "online": options.online}
    offline = "0" if options.online else "1"
    ended = worker.having(HF_HUB_OFFLINE=offline).run(job, options.fetch_limit)
    if ended.code != 0:
        hint = "is not in the local cache: name a folder, or let it be fetched with --online"
        if options.online:
            hint = "cannot be fetched"
        report.require("model", good=False, detail=f"{options.model} {hint}: {ended.fault}")
    return Path(ended.result["folder"])


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


def tensor_parallel(asked: int | None, gpus: int, folder: Path) -> int:
    """Return over how many GPUs the model is split: all, where its heads can be divided."""
    if asked or not gpus:
        return asked or 1
    config = json.loads((folder / "config.json").read_text())
    heads = [config.get("num_attention_heads"), config.get("num_key_value_heads", gpus)]
    divides = all(isinstance(one, int) and one % gpus == 0 for one in heads)
    return gpus if divides else 1
