"""vLLM's OpenAI server: started, asked, stopped."""

import contextlib
import json
import re
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from guest.suites.processes import GRACE_S, Ended, Worker, end_family, family, say, start
from guest.suites.report import Report
from guest.suites.vllm.checks import explain
from guest.suites.vllm.prompts import PROMPTS

#: Seconds for the start, for an answer, and for the end.
LIMITS_S = {"start": 600, "answer": 120, "end": 60}


def check_server(report: Report, worker: Worker, job: dict[str, Any]) -> None:
    """Start the OpenAI server, ask it, stop it.

    Raises:
        Stop: it does not start.
    """
    port = free_port()
    arguments = server_arguments(job, port)
    report.figures["server_arguments"] = arguments
    with tempfile.TemporaryDirectory(prefix="cube-suite-") as folder:
        output = Path(folder, "output")
        act = {"act": "serve", "arguments": arguments, "result": f"{folder}/result"}
        server = start(worker.argv, worker.environment(act), output)
        say(f"server: starting on port {port}")
        try:
            check_start(report, server, port, output)
            check_answers(report, f"http://127.0.0.1:{port}", job["folder"])
            say("server: stopping")
            check_end(report, server, port)
        finally:
            end_family()
            server.wait()


def check_start(report: Report, server: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
    """Check that the server answers within its limit.

    Raises:
        Stop: it does not.
    """
    started = time.monotonic()
    up = wait_for_server(server, f"http://127.0.0.1:{port}", LIMITS_S["start"])
    seconds = time.monotonic() - started
    report.figures["server_start_seconds"] = round(seconds, 1)
    if not up:
        log = output.read_text(errors="replace")
        report.figures["log_of_server"] = log[-4000:]
        ended = Ended(code=server.poll(), log=log, result={})
        report.require("server starts", good=False, detail=explain(ended))
    detail = f"/health answers after {seconds:.0f} s"
    report.record("server starts", good=True, detail=detail)


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


def check_answers(report: Report, url: str, model: str) -> None:
    """Check an answer to a completion, and what the metrics count of it."""
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
        report.record(
            "server completes",
            good=False,
            detail=f"/v1/completions: {type(error).__name__}: {error}",
        )
    else:
        detail = f"{made} tokens of {tokens} in {time.monotonic() - started:.1f} s"
        report.record("server completes", good=made == tokens and bool(text), detail=detail)
    try:
        text = ask(f"{url}/metrics")
    except OSError as error:
        report.record("server metrics", good=False, detail=f"/metrics: {error}")
        return
    found = re.findall(r"^vllm:generation_tokens_total\{.*?\} ([\d.e+]+)", text, re.MULTILINE)
    counted = sum(float(one) for one in found)
    detail = f"{counted:.0f} generated tokens counted, {tokens} asked for"
    report.record("server metrics", good=counted >= tokens, detail=detail)


def check_end(report: Report, server: subprocess.Popen[bytes], port: int) -> None:
    """Check whether SIGTERM ends the server, all its processes, and frees the port."""
    started = time.monotonic()
    server.terminate()
    try:
        server.wait(LIMITS_S["end"])
    except subprocess.TimeoutExpired:
        report.record(
            "server stops", good=False, detail=f"it still runs {LIMITS_S['end']} s after SIGTERM"
        )
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
    report.record("server stops", good=not left and is_free(port), detail=detail)


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
