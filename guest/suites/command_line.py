"""The command line of a suite: its flags, how it ends, what it prints last."""

import argparse
import sys
from collections.abc import Callable

from guest.checking.program import end_running
from guest.checking.report import (
    EXIT_CANNOT_RUN,
    EXIT_CODES,
    one_line,
    render_json,
    render_summary,
)
from guest.suites.processes import adopt_orphans, raise_on_signals
from guest.suites.report import CannotRun, NotRun, Report, Stop


def make_parser(program: str, description: str) -> argparse.ArgumentParser:
    """Make a parser with the flags of every suite."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Exit codes: 0 every check that applies passed; 1 a check failed; 2 it could not"
        " run; 77 NOT RUN, it does not apply to this box: never a pass.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a first look")
    return parser


def positive(text: str) -> int:
    """Read a whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def conduct(program: str, report: Report, work: Callable[[], None]) -> int:
    """Do the work of a suite, print what is left to print and return the exit code."""
    raise_on_signals()
    adopt_orphans()
    try:
        work()
    except Stop:
        pass
    except NotRun as error:
        report.not_run(str(error))
    except CannotRun as error:
        sys.stderr.write(f"{program}: {error}\n")
        report.reason = one_line(str(error))
        if not report.live:
            finish(report)
        return EXIT_CANNOT_RUN
    finally:
        end_running()
    return finish(report)


def finish(report: Report) -> int:
    """Print a report, with a result for each of its checks; return the exit code."""
    if not report.reason:
        report.complete()
    print(render_summary(report) if report.live else render_json(report), flush=True)
    return EXIT_CODES[report.outcome]
