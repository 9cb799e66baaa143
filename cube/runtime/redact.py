"""Logins in URLs, and private keys: no output has them.

What masks is a layer's, as a layer imports nothing that its key does not cover.
"""

from deploy.runner.redact import (
    PRIVATE_KEY,
    masked,
    masked_data,
    masked_value,
    parted,
    remember,
    remember_all,
)

__all__ = [
    "PRIVATE_KEY",
    "masked",
    "masked_data",
    "masked_value",
    "parted",
    "remember",
    "remember_all",
]
