"""How a command tells its result: on standard output, as text or as one object."""

import json

from cube.runtime.redact import masked, masked_data


def tell(view: str, kind: str, data: dict[str, object], text: str) -> None:
    """Print a result, without the logins in URLs.

    Args:
        view: ``json`` for a program.
        kind: of the object.
        data: for a program.
        text: for a person; nothing is printed when it is empty.
    """
    if view == "json":
        print(json.dumps({"kind": kind, **masked_data(data)}))  # noqa: T201
    elif text:
        print(masked(text))  # noqa: T201
