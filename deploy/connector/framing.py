"""Commands for a shell that stays open: each goes in as text, and its output comes back marked.

The only code of its kind: pyinfra's connector (`shell`) and the checks' shell use it.
"""

import secrets


def new_mark() -> str:
    """Return what no output contains."""
    return secrets.token_hex(16)


def frame(command: str, mark: str, *, errors: bool = False) -> str:
    """Return the lines that run a command with an empty input, and mark where its output ends.

    Args:
        command: of one line; a mistake in its syntax would reach the shell itself, so quote
            for ``/bin/sh -c`` what is not known to be right.
        mark: of this command or of several.
        errors: mark the end of standard error, too; it is dropped otherwise.
    """
    end = f"printf '{mark} %s\\n' $?"
    if errors:
        return f"{command} </dev/null\n{end}; printf '{mark}\\n' >&2\n"
    return f"{command} </dev/null 2>/dev/null\n{end}\n"


def is_whole(output: bytes | bytearray, mark: str, count: int = 1) -> bool:
    """Tell whether an output ends with the line of the last of `count` marks."""
    sign = mark.encode()
    return output.endswith(b"\n") and output.count(sign) >= count


def split(output: bytes, mark: str) -> list[tuple[bytes, int]]:
    """Return output and exit code of each command.

    Raises:
        ValueError: it is not what the marks promise.
    """
    answers = []
    while output:
        answer, _, output = output.partition(f"{mark} ".encode())
        code, _, output = output.partition(b"\n")
        answers.append((answer, int(code)))
    return answers
