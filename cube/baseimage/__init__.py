"""Stage 2, the bare OS: Packer as a program, judged by what its images say themselves."""

from cube.baseimage.base import build_base, first_boot
from cube.baseimage.packer.check import validate

__all__ = ["build_base", "first_boot", "validate"]
