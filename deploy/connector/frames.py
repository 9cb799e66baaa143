"""Cheaper call stacks for pyinfra: it numbers each operation by the lines that lead to it.

It asks `inspect` for the source around every line as well, and uses none of it: a tenth of a
second of a processor for each host and layer.
Source: pyinfra 3.10, api/util.py, get_operation_order_from_stack
"""

import inspect
from functools import partial

from pyinfra.api import util

#: What is replaced, as `pyinfra.api.util` has imported it from `inspect`.
CHEAPER = {
    "stack": (inspect.stack, partial(inspect.stack, 0)),
    "getframeinfo": (inspect.getframeinfo, partial(inspect.getframeinfo, context=0)),
}


def spare_sources() -> None:
    """Let pyinfra look at lines without their text; another pyinfra than expected stays as is."""
    for name, (usual, cheaper) in CHEAPER.items():
        if getattr(util, name, None) is usual:
            setattr(util, name, cheaper)
