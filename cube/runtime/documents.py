"""JSON that we read back: whatever is in the file, it is data of ours or a `ValueError`."""

import json
from typing import Any

#: No document of ours is nested so deep.
DEEPEST = 64


def parse(text: str | bytes) -> Any:  # noqa: ANN401 (whatever JSON can hold)
    """Read JSON.

    Raises:
        ValueError: it is none, is nested too deep, or has a number that is too long.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    level = [data] if isinstance(data, dict | list) else []
    for _ in range(DEEPEST):
        held = (one.values() if isinstance(one, dict) else one for one in level)
        level = [item for items in held for item in items if isinstance(item, dict | list)]
    if level:
        raise ValueError("nested too deep")
    return data
