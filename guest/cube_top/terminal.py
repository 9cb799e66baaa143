"""How frames reach a terminal: redrawn in place, one below the other, or once."""

import contextlib
import errno
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live

from guest.cube_top.glyphs import choose_glyphs
from guest.cube_top.gpus import GpuReader
from guest.cube_top.screen import Screen
from guest.cube_top.snapshot import SAMPLE_S, sample, take_snapshot
from guest.cube_top.system import Meter

#: What reading or writing says when the other side is gone: a pipe, or a terminal without SIGHUP.
#: Source: read(2), write(2); ENXIO and ENODEV of a terminal whose device was removed.
GONE = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.ENODEV)


@contextlib.contextmanager
def keyboard() -> Iterator[Callable[[float], str]]:
    """Read single keys; yields a function that waits so many seconds for one."""
    stream = sys.stdin.fileno()
    before = termios.tcgetattr(stream)

    def key(seconds: float) -> str:
        ready, _, _ = select.select([stream], [], [], seconds)
        if not ready:
            return ""
        if pressed := os.read(stream, 1):
            return pressed.decode(errors="replace")
        raise OSError(errno.EIO, "the terminal is gone")

    try:
        tty.setcbreak(stream)
        yield key
    finally:
        with contextlib.suppress(termios.error):  # of a terminal that is gone
            termios.tcsetattr(stream, termios.TCSADRAIN, before)


def show_live(console: Console, interval_s: float) -> None:
    """Redraw until q is pressed."""
    meter, reader, glyphs = Meter(), GpuReader(interval_s), choose_glyphs(console)
    take_snapshot(meter, reader.latest)
    with keyboard() as key, Live(console=console, screen=True, auto_refresh=False) as live:
        pressed = key(SAMPLE_S)
        while pressed not in {"q", "Q"}:
            width, height = console.size
            screen = Screen(glyphs=glyphs, width=width, height=height)
            shot = take_snapshot(meter, reader.latest)
            live.update(screen.draw(shot, hint="q quits"), refresh=True)
            pressed = key(interval_s)


def show_frames(console: Console, interval_s: float) -> None:
    """Print one frame after the other, for a terminal that cannot move its cursor."""
    while True:
        print_once(console)
        time.sleep(interval_s)


def print_once(console: Console) -> None:
    """Print one frame."""
    width, height = console.size
    screen = Screen(glyphs=choose_glyphs(console), width=width, height=height)
    with console.capture() as captured:
        console.print(screen.draw(sample()))
    sys.stdout.write(captured.get())
    sys.stdout.flush()
