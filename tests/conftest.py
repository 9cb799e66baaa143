"""Options of the test suite."""

import signal

import pytest

# A shell without job control starts background jobs with Ctrl-C ignored, and what is ignored is
# inherited; the tests send it to programs that must react.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-golden",
        action="store_true",
        help="write the golden files anew; read the difference before you commit it",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(what): of a check in checks/ that a test calls")
