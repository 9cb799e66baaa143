"""What a check is called in reports: a sentence made from its name, and a stable id."""

from collections.abc import Mapping

#: Parameters that say where a check runs, not what it says.
PLACES = ("_testinfra_host", "image")


def title(name: str, parameters: Mapping[str, object]) -> str:
    """Turn ``test_root_login_is_refused`` into "root login is refused".

    Args:
        name: the test function's name.
        parameters: its parameters; those that say more than the place go in parentheses.
    """
    words = name.removeprefix("test_").replace("_", " ")
    values = telling(parameters)
    return f"{words} ({values})" if values else words


def stable_id(path: str, name: str, parameters: Mapping[str, object]) -> str:
    """Return an id that is the same on every machine; pytest's own names the machine."""
    values = telling(parameters)
    return f"{path}::{name}[{values}]" if values else f"{path}::{name}"


def telling(parameters: Mapping[str, object]) -> str:
    """Return the parameters that tell checks of one name apart."""
    return ", ".join(str(value) for key, value in parameters.items() if key not in PLACES)
