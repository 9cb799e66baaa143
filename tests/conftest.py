"""Options of the test suite."""

import signal
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# A shell without job control starts background jobs with Ctrl-C ignored, and what is ignored is
# inherited; the tests send it to programs that must react.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-golden",
        action="store_true",
        help="write the golden files anew; read the difference before you commit it",
    )


#: Files of integration tests that work in one build folder: one process runs them in turn.
SAME_FOLDER = ("test_bisect", "test_build", "test_checks", "test_session")


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a file's tests to one process, the files in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "same folder" if Path(file).stem in SAME_FOLDER else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile | None:
    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(what): of a check in checks/ that a test calls")
