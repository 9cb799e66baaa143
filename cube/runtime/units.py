"""Sizes, durations and counts in words: every message, table and page has them from here."""

SECOND = 1.0
MINUTE = 60
HOUR = 60 * MINUTE
KIB = 1024
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
#: From here on a fraction is not worth telling.
WHOLE = 10


def duration(seconds: float) -> str:
    """Return "0.4 s", "12 s", "3 min 05 s" or "1 h 03 min"."""
    if seconds < WHOLE * SECOND:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"


def size(size_bytes: float) -> str:
    """Return "601 MiB", "1.6 GiB" or "12 KiB"."""
    number, unit = float(size_bytes), 0
    while number >= KIB and unit < len(UNITS) - 1:
        number, unit = number / KIB, unit + 1
    return f"{number:.{0 if unit == 0 or number >= WHOLE else 1}f} {UNITS[unit]}"


def counted(number: int, noun: str) -> str:
    """Return a number of things: "1 rule", "2 rules"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
