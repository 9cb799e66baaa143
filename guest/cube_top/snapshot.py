"""Everything that is on the screen, read at one moment."""

import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from guest.checking.state import is_simulated
from guest.cube_top.gpus import GpuQuery, Gpus
from guest.cube_top.health import Health, Layer, read_health, read_json, read_layers
from guest.cube_top.system import (
    Cpu,
    Link,
    Meter,
    Space,
    Task,
    read_cpu,
    read_disks,
    read_links,
    read_os,
    read_tasks,
)

#: Seconds between the two readings that rates need.
SAMPLE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything on the screen; disk rates in bytes a second."""

    time: str
    evidence: str
    image: str
    version: str
    hostname: str
    os: str
    kernel: str
    uptime_s: float
    cpu: Cpu
    memory: Space
    swap: Space
    disks: tuple[Space, ...]
    read_bps: float
    written_bps: float
    links: tuple[Link, ...]
    tasks: tuple[Task, ...]
    gpus: Gpus
    layers: tuple[Layer, ...]
    health: Health


def take_snapshot(meter: Meter, gpus: Gpus) -> Snapshot:
    """Read everything but the GPUs, which may answer slowly and are read elsewhere."""
    release, health = read_json("etc/cube/release.json"), read_json("var/lib/cube/health.json")
    memory, swap, disk = psutil.virtual_memory(), psutil.swap_memory(), psutil.disk_io_counters()
    return Snapshot(
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        evidence="simulated" if is_simulated() else "hardware",
        image=str(release.get("name", "unnamed image")),
        version=str(release.get("version", "")),
        hostname=platform.node(),
        os=read_os(),
        kernel=platform.release(),
        uptime_s=time.time() - psutil.Process(1).create_time(),
        cpu=read_cpu(),
        memory=Space(name="RAM", used=memory.total - memory.available, total=memory.total),
        swap=Space(name="swap", used=swap.used, total=swap.total),
        disks=read_disks(),
        read_bps=meter.rate("read", disk.read_bytes if disk else 0),
        written_bps=meter.rate("written", disk.write_bytes if disk else 0),
        links=read_links(meter),
        tasks=read_tasks(),
        gpus=gpus,
        layers=read_layers(health),
        health=read_health(health),
    )


def sample() -> Snapshot:
    """Take a snapshot with rates, from two readings half a second apart."""
    meter = Meter()
    gpus = GpuQuery().read()
    take_snapshot(meter, gpus)
    time.sleep(SAMPLE_S)
    return take_snapshot(meter, gpus)
