"""What an operation of pyinfra changes in files, in the length that a person reads."""

#: Lines of one difference that a person is shown; a program gets all of them.
LINES = 16
#: Characters of a line that are shown.
WIDTH = 160


def named(diff: str) -> str:
    """Return a difference that is never a file's name alone.

    Equal content has no lines: then it is what else an operation sets of a file.
    """
    return diff if not diff or "\n" in diff else f"{diff}: its owner or mode"


def excerpt(text: str) -> list[str]:
    """Return the first lines of a difference, indented, and how many are left out."""
    lines = text.splitlines()
    shown = [f"    {line[:WIDTH]}" for line in lines[:LINES]]
    return shown + [f"    ... and {len(lines) - LINES} lines more"] * (len(lines) > LINES)
