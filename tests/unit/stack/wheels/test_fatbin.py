"""GPU code is found in a library by its headers, wherever blocks of reading end."""

import io

import pytest

from cube.stack.wheels import fatbin
from tests.unit.stack.wheels.samples import fat_binary, library

BLACKWELL = fat_binary([75, 80, 120])


def test_architectures_are_counted() -> None:
    found = fatbin.scan(io.BytesIO(library(BLACKWELL, fat_binary([90], ptx=[90]))))
    assert found.architectures() == ("75", "80", "90", "120")
    assert found.ptx == {"90": 1}
    assert found.binaries == 2


@pytest.mark.parametrize("shift", range(-90, 30, 7))
def test_a_header_on_the_edge_of_a_block(shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fatbin, "BLOCK", 128)
    data = library(BLACKWELL, BLACKWELL, before=256 + shift)
    assert fatbin.scan(io.BytesIO(data)).binaries == 2


def test_reading_ends_when_the_target_was_seen() -> None:
    stream = io.BytesIO(library(*[fat_binary([120], size=fatbin.BLOCK // 4)] * 40))
    assert fatbin.scan(stream, until=("120",)).binaries == fatbin.ENOUGH
    assert stream.tell() < len(stream.getvalue())


def test_reading_is_bounded_when_the_target_is_in_none() -> None:
    stream = io.BytesIO(library(*[fat_binary([90])] * 100))
    found = fatbin.scan(stream, until=("120",))
    assert found.binaries == fatbin.MOST
    assert found.architectures() == ("90",)


def test_a_kernel_for_one_architecture_does_not_decide() -> None:
    early = [fat_binary([90])] * (fatbin.ENOUGH + 3)
    found = fatbin.scan(io.BytesIO(library(*early, BLACKWELL)), until=("120",))
    assert "120" in found.architectures()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7fELF nothing",
        fatbin.MAGIC,
        fatbin.MAGIC + b"\xff" * 8 + b"x" * 100,  # a size that no fat binary has
        BLACKWELL[:100],  # cut off
        fatbin.HEADER.pack(0xBA55ED50, 1, 16, 64) + b"\xff" * 64,  # an entry of no kind
    ],
)
def test_what_is_no_fat_binary(data: bytes) -> None:
    assert fatbin.scan(io.BytesIO(data)).binaries == 0


def test_a_fat_binary_behind_a_false_one_is_found() -> None:
    false = fatbin.MAGIC + b"\xff" * 8
    assert fatbin.scan(io.BytesIO(false + BLACKWELL)).binaries == 1
