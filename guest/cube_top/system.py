"""What the kernel says: processor, memory, disks, network, processes."""

import contextlib
import os
import platform
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

#: Processes that are kept.
TASKS = 10


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """Use in percent, temperature in degrees Celsius."""

    model: str
    percent: float
    cores: tuple[float, ...]
    load: tuple[float, float, float]
    temperature_c: float | None


@dataclass(frozen=True, kw_only=True)
class Space:
    """Something with a size, in bytes."""

    name: str
    used: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Link:
    """A network interface; rates in bytes a second."""

    name: str
    up: bool
    address: str
    received_bps: float
    sent_bps: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """A process: percent of one core, resident memory in bytes."""

    pid: int
    name: str
    user: str
    cpu_percent: float
    memory: int


class Meter:
    """Turns counters into rates between one reading and the next."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def rate(self, name: str, value: float) -> float:
        """Return the growth a second since the last call for this name; 0 at the first."""
        now = time.monotonic()
        before, then = self._last.get(name, (value, now))
        self._last[name] = (value, now)
        return max(0.0, (value - before) / (now - then)) if now > then else 0.0


def read_cpu() -> Cpu:
    """Read the processor; the first reading of a process has no percentages yet."""
    cores = psutil.cpu_percent(percpu=True)
    return Cpu(
        model=cpu_model(),
        percent=sum(cores) / len(cores) if cores else 0.0,
        cores=tuple(cores),
        load=os.getloadavg(),
        temperature_c=cpu_temperature(),
    )


def cpu_model() -> str:
    """Return the processor's name, without the words that only fill the line."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2]
                for noise in ("(R)", "(TM)", "Processor", "CPU"):
                    name = name.replace(noise, "")
                return " ".join(name.partition("@")[0].split())
    return platform.machine()


def cpu_temperature() -> float | None:
    """Return the hottest reading of the processor's own sensor."""
    sensors: dict[str, Any] = {}
    with contextlib.suppress(OSError, AttributeError):
        sensors = psutil.sensors_temperatures()
    readings = [s.current for name in ("k10temp", "coretemp") for s in sensors.get(name, [])]
    return max(readings, default=None)


def read_disks() -> tuple[Space, ...]:
    """Read the file systems on disks, / first, each device once."""
    mounts = {"/": "/"}
    for part in psutil.disk_partitions(all=False):
        if part.fstype not in {"squashfs", "iso9660"} and not part.mountpoint.startswith("/run/"):
            mounts.setdefault(part.mountpoint, part.device)
    devices: dict[int, str] = {}
    for mount in sorted(mounts):
        with contextlib.suppress(OSError):
            devices.setdefault(Path(mount).stat().st_dev, mount)
    return tuple(space for mount in devices.values() if (space := read_disk(mount)))


def read_disk(mount: str) -> Space | None:
    """Read one file system."""
    try:
        usage = psutil.disk_usage(mount)
    except OSError:
        return None
    return Space(name=mount, used=usage.used, total=usage.used + usage.free)


def read_links(meter: Meter) -> tuple[Link, ...]:
    """Read the network interfaces that a person plugs or sets up; those in use first."""
    stats, counters = psutil.net_if_stats(), psutil.net_io_counters(pernic=True)
    addresses = psutil.net_if_addrs()
    links = [
        Link(
            name=name,
            up=stats[name].isup,
            address=ipv4(addresses.get(name, [])),
            received_bps=meter.rate(f"{name} in", count.bytes_recv),
            sent_bps=meter.rate(f"{name} out", count.bytes_sent),
        )
        for name, count in counters.items()
        if name in stats and is_worth_showing(name, ipv4(addresses.get(name, [])))
    ]
    return tuple(sorted(links, key=lambda link: (not link.address, not link.up, link.name)))


def ipv4(addresses: Sequence[Any]) -> str:
    """Return the first IPv4 address of an interface."""
    return next((a.address for a in addresses if a.family == socket.AF_INET), "")


def is_worth_showing(name: str, address: str) -> bool:
    """Tell the cards, plugged in or not, and what has an address from the rest."""
    return name != "lo" and (bool(address) or Path(f"/sys/class/net/{name}/device").exists())


def read_tasks() -> tuple[Task, ...]:
    """Read the processes that take most processor time since the last reading."""
    tasks = []
    for process in psutil.process_iter(["pid", "name", "username", "cpu_percent", "memory_info"]):
        info = process.info
        memory = info["memory_info"]
        tasks.append(
            Task(
                pid=info["pid"],
                name=info["name"] or "?",
                user=info["username"] or "?",
                cpu_percent=info["cpu_percent"] or 0.0,
                memory=memory.rss if memory else 0,
            )
        )
    return tuple(sorted(tasks, key=lambda task: (-task.cpu_percent, -task.memory))[:TASKS])


def read_os() -> str:
    """Return the operating system's name."""
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return "Linux"
