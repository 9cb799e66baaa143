"""Commands for a shell that stays open: each goes in as text, and its output comes back marked.

The only code of its kind: pyinfra's connector (`shell`), the checks' shell and the commands on
hosts use it. What a login prints of its own comes before the first mark and is no answer.
"""

import re
import secrets
import shlex

#: Programs print in English, and numbers and dates in their plain form: outputs are parsed.
#: LANGUAGE would go before a locale of C.UTF-8. Source: GNU gettext manual, "The LANGUAGE
#: variable"; glibc, intl/dcigettext.c, guess_category_value.
#: The first line is empty: it goes to a login that asks a question.
LOCALE = "\nunset LANGUAGE; export LC_ALL=C.UTF-8\n"
#: Root's programs are found also where su, or a sudo without secure_path, keeps a user's PATH.
PATH = 'export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"\n'


def new_mark() -> str:
    """Return what no output contains."""
    return secrets.token_hex(16)


def sign(mark: str, end: str) -> str:
    """Return the command that prints a mark and what follows it.

    In two halves: a shell that repeats its commands (``set -x``, an echo) prints no mark.
    """
    half = len(mark) // 2
    return f"printf '%s%s{end}\\n' {mark[:half]} {mark[half:]}"


def frame(command: str, mark: str, *, errors: bool = False) -> str:
    """Return the lines that run a command with an empty input, its output between two marks.

    Args:
        command: of one line; a mistake in its syntax would reach the shell itself, so quote
            for ``/bin/sh -c`` what is not known to be right.
        mark: of this command or of several.
        errors: mark standard error, too; it is dropped otherwise.
    """
    begin, end = sign(mark, "<"), f"{sign(mark, '>%s')} $?"
    if errors:
        begin = f"{begin}; {begin} >&2"
        return f"{begin}\n{command} </dev/null\n{end}; {sign(mark, '>')} >&2\n"
    return f"{begin}\n{command} </dev/null 2>/dev/null\n{end}\n"


def script(text: str, mark: str) -> str:
    """Return the lines that run a script of any length of lines, with both outputs marked."""
    return frame(f"/bin/sh -c {shlex.quote(text)}", mark, errors=True)


def is_whole(output: bytes | bytearray, mark: str, count: int = 1) -> bool:
    """Tell whether an output has the whole line of the last of `count` end marks."""
    last = f"{mark}>".encode()
    return output.count(last) >= count and output.find(b"\n", output.rfind(last)) >= 0


def split(output: bytes, mark: str) -> list[tuple[bytes, int]]:
    """Return output and exit code of each command.

    Raises:
        ValueError: it is not what the marks promise.
    """
    answers = [
        (found[1], int(found[2]))
        for found in re.finditer(
            rb"%b<\n(.*?)%b>([0-9]+)\n" % (mark.encode(), mark.encode()), output, re.DOTALL
        )
    ]
    if not answers:
        raise ValueError("the answer has no mark")
    return answers


def between(output: bytes, mark: str) -> bytes:
    """Return what a stream has between its marks; up to its end when the last one is missing."""
    return output.partition(f"{mark}<\n".encode())[2].partition(f"{mark}>".encode())[0]
