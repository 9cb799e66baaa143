"""The commands of each layer on a bare host, read as a whole: `pytest --regenerate-golden`.

Every fact is empty, so every operation shows what it would do; that a second application does
nothing is proven for real by tests/integration/test_layers.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from cube.config import mirrors
from cube.provision import pyinfra_run
from cube.stack.profile import SHIPPED
from deploy.runner.sources import GUEST, ROOT

GOLDEN = Path(__file__).parents[2] / "golden"

#: The stack of the first specification.
SPECIFICATION = {"driver_branch": "550", "driver_open": False, "cuda_toolkit": "12.4"}

#: Operating system, layer, what distinguishes the case from others of its layer, and its data.
CASES: list[tuple[str, int, str, dict[str, object]]] = [
    ("debian-13", 1, "", {}),
    ("ubuntu-24.04", 1, "", {"docker_source": "docker"}),
    ("debian-13", 2, "nvidia", {"driver_source": "nvidia"}),
    ("ubuntu-24.04", 2, "nvidia", {"driver_source": "nvidia"}),
    ("debian-13", 2, "distribution", {**SPECIFICATION, "driver_source": "distribution"}),
    ("ubuntu-24.04", 2, "distribution", {"driver_source": "distribution"}),
    ("debian-13", 3, "", {}),
    ("ubuntu-24.04", 3, "", {}),
    ("debian-13", 4, "", {}),
    ("debian-13", 5, "", {}),
    ("ubuntu-24.04", 5, "", {}),
]


def shipped_files() -> dict[str, str]:
    """Return content and name of every file that travels as it is, locks among them."""
    folders = (ROOT / "files", GUEST)
    files = [path for one in folders for path in one.rglob("*") if path.suffix != ".pyc"]
    files += SHIPPED.glob("*/*.txt")
    return {
        path.read_text(): str(path.relative_to(ROOT.parent)) for path in files if path.is_file()
    }


def show(command: str, known: dict[str, str]) -> str:
    """Name a file that is put as it is instead of repeating it; a line of settings may be first."""
    text, mark, stdin = command.partition(" <<'STDIN'\n")
    content = stdin.removesuffix("STDIN")
    if mark and content in known:
        return f"{text} < {known[content]}"
    first, _, rest = content.partition("\n")
    if mark and rest in known:
        return f"{text} <<'STDIN'\n{first}\n(all of {known[rest]})\nSTDIN"
    return command


def render(events: list[dict[str, Any]]) -> str:
    known = shipped_files()
    parts = []
    for event in events:
        commands = [f"    {show(command, known)}" for command in event["commands"]]
        text = "\n".join(commands).replace("\n", "\n    ")
        parts.append(f"{event['role']}: {event['name']}\n{text}\n")
    # The tool that bootstraps Debian knows where its archive is, not we.
    return "\n".join(parts).replace(
        mirrors.archives("debian-13")[0], "http://archive.example/debian"
    )


@pytest.mark.parametrize(("os_name", "layer", "case", "data"), CASES)
def test_commands_are_the_golden_ones(
    os_name: str,
    layer: int,
    case: str,
    data: dict[str, object],
    *,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    argv = ["--limit", f"@fake/{os_name}", "--data", "gpu_mode=assume"]
    for key, value in data.items():
        argv += ["--data", f"{key}={json.dumps(value)}"]
    code, journal = pyinfra_run.run_pyinfra(
        [*argv, "deploy/runner/offline.py", f"deploy/layer{layer}.py"],
        {"CUBE_SPEC": str(GOLDEN / "cube.toml")},
        tmp_path,
        timeout_s=60,
        told=False,
    )
    assert code == 0, journal.tail()
    pyinfra_run.judge(layer, code, journal)
    events = [event for event in journal.of("end") if event["role"] != "record"]
    text = render(events)
    golden = GOLDEN / f"layer{layer}-{os_name}{f'-{case}' if case else ''}.txt"
    if request.config.getoption("--regenerate-golden", default=False):
        golden.write_text(text)
    assert text == golden.read_text()
