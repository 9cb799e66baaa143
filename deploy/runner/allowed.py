"""What is refused on a host that somebody uses, unless cube.toml allows it."""

from pyinfra import host


def allows(harm: str) -> bool:
    """Tell whether the current host may come to a harm; a machine of a build may come to all.

    Args:
        harm: a word of ``[apply] allow``, such as "remove-packages".
    """
    return harm in host.data.get("allow", ())


def advice(harm: str) -> str:
    """Return the words that end a refusal: how to allow it."""
    return f'or allow it in cube.toml: [apply] allow = ["{harm}"]'
