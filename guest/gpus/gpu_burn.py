"""Keeps every GPU busy for validate-gpus.sh; the Python of the PyTorch environment runs it.

It prints one JSON object a line: "bandwidth" of each GPU, one after the other, then "busy" once
all of them multiply, then "done". It ends when its standard input ends, so that it never
outlives the program that started it, and by itself after BURN_LIMIT_S.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

#: A product of two of these takes milliseconds, and 0.4 GiB: a GPU has room for it in use, too.
MATRIX = 8192
PRODUCTS = 10  # between two copies over the link
#: Large enough that the start of a copy does not show; the best of the copies counts.
BLOCK_MIB, COPIES = 512, 10
LINK_MIB = 64  # copied again and again while the GPU is busy
BURN_LIMIT_S = 300
JOIN_S = 10


def main() -> int:
    """Measure, burn, and return 0, or 1 after telling what went wrong."""
    try:
        torch = importlib.import_module("torch")
        gpus = torch.cuda.device_count()
        tell("start", torch=torch.__version__, gpus=gpus)
        if gpus == 0:
            raise RuntimeError(f"PyTorch {torch.__version__} sees no GPU")
        for gpu in range(gpus):
            tell("bandwidth", gpu=gpu, **measure(torch, gpu))
        tell("done", products=burn_all(torch, gpus))
    except (ImportError, RuntimeError) as error:
        tell("error", detail=(str(error).strip().splitlines() or ["no reason given"])[0])
        return 1
    return 0


def tell(event: str, **values: object) -> None:
    """Print an event."""
    print(json.dumps({"event": event, **values}), flush=True)  # noqa: T201 (this is its output)


def measure(torch: Any, gpu: int) -> dict[str, float]:  # noqa: ANN401 (PyTorch has no types here)
    """Return how fast data moves between pinned memory and a GPU, both ways, in GB/s."""
    size = BLOCK_MIB * 2**20
    host = torch.empty(size, dtype=torch.uint8, pin_memory=True)
    device = torch.empty(size, dtype=torch.uint8, device=f"cuda:{gpu}")

    def rate(copy: Callable[[], object]) -> float:
        return round(size / min(timed(torch, gpu, copy) for _ in range(COPIES)) / 1e9, 2)

    return {
        "to_gpu_gb_per_second": rate(lambda: device.copy_(host, non_blocking=True)),
        "to_host_gb_per_second": rate(lambda: host.copy_(device, non_blocking=True)),
    }


def timed(torch: Any, gpu: int, work: Callable[[], object]) -> float:  # noqa: ANN401
    """Return how many seconds a GPU took for some work."""
    torch.cuda.synchronize(gpu)
    start = time.perf_counter()
    work()
    torch.cuda.synchronize(gpu)
    return time.perf_counter() - start


def burn_all(torch: Any, gpus: int) -> list[int]:  # noqa: ANN401
    """Multiply on all GPUs until the standard input ends; return the products of each.

    Raises:
        RuntimeError: a GPU failed.
    """
    stop, products, errors = threading.Event(), [0] * gpus, list[BaseException]()

    def one(gpu: int) -> None:
        try:
            burn(torch, gpu, products, stop)
        except RuntimeError as error:
            errors.append(RuntimeError(f"GPU {gpu}: {error}"))
            stop.set()

    workers = [threading.Thread(target=one, args=(gpu,), daemon=True) for gpu in range(gpus)]
    threading.Thread(target=watch_input, args=(stop,), daemon=True).start()
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + BURN_LIMIT_S
    while not all(products) and not stop.wait(0.1) and time.monotonic() < deadline:
        pass
    if all(products):
        tell("busy")
    stop.wait(max(0.0, deadline - time.monotonic()))
    stop.set()
    for worker in workers:
        worker.join(JOIN_S)
    if errors:
        raise errors[0]
    return products


def watch_input(stop: threading.Event) -> None:
    """Wait for the end of the standard input."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


def burn(torch: Any, gpu: int, products: list[int], stop: threading.Event) -> None:  # noqa: ANN401
    """Multiply on one GPU, and use its link now and then."""
    place = {"device": f"cuda:{gpu}", "dtype": torch.float16}
    left, right = (torch.randn(MATRIX, MATRIX, **place) for _ in range(2))
    result = torch.empty(MATRIX, MATRIX, **place)
    host = torch.empty(LINK_MIB * 2**19, dtype=torch.float16, pin_memory=True)
    while not stop.is_set():
        for _ in range(PRODUCTS):
            torch.mm(left, right, out=result)
        host.copy_(result.view(-1)[: host.numel()], non_blocking=True)
        torch.cuda.synchronize(gpu)
        products[gpu] += PRODUCTS


if __name__ == "__main__":
    sys.exit(main())
