"""What is checked of a training: losses, parameters, logs, speed, utilisation."""

import re
import statistics

from guest.suites.pytorch.figures import Sample
from guest.suites.report import Report

DEFERRED = "deferred: {} needs GPUs, and this run was on the processor"

#: Source: the specification's gates for training.
SCALING_LIMIT = 80.0
UTILISATION_LIMIT = 90.0
#: Cards of one model differ by a few percent; more is a fault (power, heat, slot). Our choice.
ALIKE_LIMIT = 90.0
#: Samples a second. Source: docs/validate.md, "PyTorch".
SAMPLE_RATE = 1.0
#: Fewer ranks than this have nothing to compare.
GROUP = 2
#: Words of NCCL, gloo and torch when ranks lose each other.
FAULTS = re.compile(
    r"NCCL (?:error|failure)|ncclSystemError|ncclInternalError|ncclRemoteError"
    r"|ncclUnhandledCudaError|ncclInvalid(?:Usage|Argument)|DistBackendError"
    r"|Watchdog caught collective|collective operation timeout|Connection (?:reset|closed) by peer"
    r"|Gloo connect\w* failed|NCCL WARN .*(?:[Ff]ail|[Ee]rror|[Aa]bort|[Tt]imeout)"
)


def check_losses(report: Report, losses: list[float | None]) -> None:
    """Check the losses, the mean of all ranks for each step."""
    finite = [one for one in losses if one is not None]
    whole = bool(losses) and len(finite) == len(losses)
    report.record(
        "loss finite",
        good=whole,
        detail=f"{len(finite)} of {len(losses)} steps" if not whole else f"all {len(losses)} steps",
    )
    edge = max(1, len(losses) // 4)
    if not whole or len(losses) < GROUP:
        report.record("loss falling", good=False, detail="there are not enough finite losses")
        return
    first, last = statistics.fmean(finite[:edge]), statistics.fmean(finite[-edge:])
    detail = f"{first:.3f} in the first {edge} steps, {last:.3f} in the last"
    report.record(
        "loss falling",
        good=last < first,
        detail=detail,
        value=last,
        limit=first,
        unit="nats",
    )


def check_digests(report: Report, digests: list[str], ranks: int) -> None:
    """Check whether all ranks ended with the same parameters."""
    others = [n for n, one in enumerate(digests) if one != digests[0]]
    if len(digests) != ranks or ranks < GROUP:
        report.record(
            "parameters identical",
            good=False,
            detail=f"{len(digests)} of {ranks} ranks told theirs",
        )
    elif others:
        detail = f"ranks {others} differ from rank 0"
        report.record("parameters identical", good=False, detail=detail)
    else:
        detail = f"{ranks} ranks, sha256 {digests[0][:12]}"
        report.record("parameters identical", good=True, detail=detail)


def check_logs(report: Report, log: str, backend: str) -> None:
    """Check what the ranks wrote."""
    found = [line for line in log.splitlines() if FAULTS.search(line)]
    said = f"none in the ranks' logs ({backend})"
    report.record(
        "communication errors",
        good=not found,
        detail=f"{len(found)}: {found[0]}" if found else said,
    )


def check_scaling(report: Report, one: float, all_of_them: float, ranks: int) -> None:
    """Check T_N / (N x T_1) at a fixed batch a GPU."""
    percent = 100 * all_of_them / (ranks * one)
    detail = (
        f"{percent:.0f} %: {all_of_them:.0f} images/s on {ranks}, {one:.0f} on one,"
        f" limit {SCALING_LIMIT:.0f} %"
    )
    report.record(
        "scaling efficiency",
        good=percent > SCALING_LIMIT,
        detail=detail,
        value=percent,
        limit=SCALING_LIMIT,
        unit="%",
    )


def check_alike(report: Report, rates: list[float]) -> None:
    """Check the slowest GPU against the fastest, each for itself."""
    slowest = min(range(len(rates)), key=rates.__getitem__)
    percent = 100 * rates[slowest] / max(rates)
    detail = (
        f"slowest is GPU {slowest}: {rates[slowest]:.0f} images/s alone, {percent:.0f} % of the"
        f" fastest, limit {ALIKE_LIMIT:.0f} %"
    )
    report.record(
        "GPUs alike",
        good=percent >= ALIKE_LIMIT,
        detail=detail,
        value=percent,
        limit=ALIKE_LIMIT,
        unit="%",
    )


def check_utilisation(report: Report, taken: list[Sample], gpus: int, seconds: float) -> None:
    """Check the median of each GPU after the warm-up.

    Utilisation is the share of time in which ANY kernel ran, so throughput and power stand beside
    it in the figures.
    """
    name = "utilisation"
    if len(taken) < max(3.0, SAMPLE_RATE * seconds):
        detail = f"nvidia-smi gave {len(taken)} samples in {seconds:.0f} s, one a second are needed"
        report.record(name, good=False, detail=detail)
        return
    medians = []
    for gpu in range(gpus):
        values = [rows[gpu][0] for rows in taken if gpu < len(rows)]
        known = [value for value in values if value is not None]
        if len(known) < len(taken) / 2:
            detail = f"GPU {gpu} told its utilisation {len(known)} of {len(taken)} times"
            report.record(name, good=False, detail=detail)
            return
        medians.append(statistics.median(known))
    report.figures["utilisation_median_percent"] = medians
    told = ", ".join(f"GPU {gpu} {value:.0f} %" for gpu, value in enumerate(medians))
    worst = min(medians)
    report.record(
        name,
        good=worst > UTILISATION_LIMIT,
        detail=f"median {told}, limit {UTILISATION_LIMIT:.0f} %",
        value=worst,
        limit=UTILISATION_LIMIT,
        unit="%",
    )
