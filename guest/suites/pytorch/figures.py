"""What of a training is plotted: its results, and samples of each GPU."""

from typing import Any

from guest.gpus.machine import find_machine
from guest.gpus.nvidia_smi import SmiError, number, query

#: Fields that are sampled, by the names that they have in the figures.
SAMPLED = {
    "utilisation_percent": "utilization.gpu",
    "power_watts": "power.draw",
    "temperature_celsius": "temperature.gpu",
    "memory_used_mib": "memory.used",
}
#: For each GPU the values of `SAMPLED`; None is what its driver does not tell.
Sample = list[list[float | None]]


def read_sample() -> Sample | None:
    """Ask nvidia-smi; a failed answer leaves a gap, which is checked."""
    try:
        rows = query(find_machine(), ("index", *SAMPLED.values()))
    except SmiError:
        return None
    return [[number(row, field) for field in SAMPLED.values()] for row in rows]


def make_series(samples: list[tuple[float, Sample]]) -> dict[str, Any]:
    """Return everything for plots: for each field one list a GPU."""
    gpus = max((len(rows) for _, rows in samples), default=0)
    start = samples[0][0] if samples else 0.0
    fields = {
        name: {
            f"GPU {gpu}": [rows[gpu][at] if gpu < len(rows) else None for _, rows in samples]
            for gpu in range(gpus)
        }
        for at, name in enumerate(SAMPLED)
    }
    return {"sampled_at_seconds": [round(when - start, 2) for when, _ in samples], **fields}


def make_figures(
    job: dict[str, Any], ranks: int, one: dict[str, Any], group: dict[str, Any]
) -> dict[str, Any]:
    """Put together what the report plots."""
    return {
        "ranks": ranks,
        "batch_per_rank": job["batch"],
        "image_pixels": job["image"],
        "precision": "bfloat16 autocast" if job["device"] == "cuda" else "float32",
        "parameters": group["parameters"],
        "throughput_images_per_second": {
            "one rank": one["images_per_second"],
            "all ranks": group["images_per_second"],
            "all ranks, if none lost": ranks * one["images_per_second"],
        },
        "single_images_per_second": one["images_per_second"],
        "all_images_per_second": group["images_per_second"],
        "scaling_percent": 100 * group["images_per_second"] / (ranks * one["images_per_second"]),
        "own_images_per_second": group["own_images_per_second"],
        "single_elapsed_seconds": one["elapsed_seconds"],
        "all_elapsed_seconds": group["elapsed_seconds"],
        "window_seconds": group["window"],
        "losses": group["losses"],
        "memory_allocated_mib": group["memory_mib"],
    }
