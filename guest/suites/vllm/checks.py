"""What is checked of an engine's work: speed, agreement with transformers, answers."""

import re
import signal
from typing import Any

from guest.suites.processes import Ended
from guest.suites.report import Report
from guest.suites.vllm.prompts import AGREEING_TOKENS, QUESTIONS

#: Tokens a second for one request. Source: the specification's gate for inference.
THROUGHPUT_LIMIT = 10.0
#: Percent of the prompts: one in four may meet a tie, which rounding decides.
AGREEMENT_LIMIT = 75.0
#: Percent of the questions that must be answered; a model of half a billion parameters does.
QUALITY_LIMIT = 80.0
OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|No available memory for the cache blocks"
    r"|Cannot allocate memory|is less than (?:desired|requested)|MemoryError|not enough memory",
    re.IGNORECASE,
)


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


def check_speed(report: Report, told: dict[str, Any]) -> None:
    """Check one request by the wall clock and by the engine's own counters."""
    one = told["single"]
    rate, limit = one["tokens_per_second"], THROUGHPUT_LIMIT
    detail = (
        f"{rate:.1f} tokens/s for one request by the wall clock,"
        f" {told['batch']['tokens_per_second']:.0f} for a batch; limit {limit:.0f}"
    )
    report.record(
        "throughput",
        good=rate > limit,
        detail=detail,
        value=rate,
        limit=limit,
        unit="tokens/s",
    )
    seconds = one["engine_request_seconds"]
    own = one["engine_tokens"] / seconds if seconds else 0.0
    same = one["engine_tokens"] == one["tokens"]
    detail = (
        f"{own:.1f} tokens/s by the engine's metrics ({one['engine_tokens']:.0f} tokens,"
        f" {one['tokens']:.0f} received); limit {limit:.0f}"
    )
    report.record(
        "engine throughput",
        good=own > limit and same,
        detail=detail,
        value=own,
        limit=limit,
        unit="tokens/s",
    )


def check_agreement(report: Report, ours: list[dict[str, Any]], ended: Ended) -> None:
    """Check whether vLLM and transformers choose the same tokens."""
    name = "agreement with transformers"
    theirs = ended.result.get("tokens")
    if ended.code != 0 or not theirs:
        report.record(name, good=False, detail=explain(ended))
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
    report.record(
        name,
        good=good,
        detail=detail,
        value=percent,
        limit=AGREEMENT_LIMIT,
        unit="%",
    )


def common(one: list[int], other: list[int]) -> int:
    """Count the tokens that are the same from the start."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def check_quality(report: Report, answers: list[str]) -> None:
    """Check answers that can be checked."""
    right = [
        bool(re.match(rf"\W*(?:the |it is |it's )?(?:{wanted})\b", answer.strip(), re.IGNORECASE))
        for (_, wanted), answer in zip(QUESTIONS, answers, strict=True)
    ]
    percent = 100 * sum(right) / len(right)
    told = zip(QUESTIONS, answers, right, strict=True)
    wrong = [f"{question[0]} {answer.strip()!r}" for question, answer, good in told if not good]
    detail = f"{sum(right)} of {len(right)} answers are right, limit {QUALITY_LIMIT:.0f} %"
    report.record(
        "output quality",
        good=percent >= QUALITY_LIMIT,
        detail="; ".join([detail, *wrong[:2]]),
        value=percent,
        limit=QUALITY_LIMIT,
        unit="%",
    )
