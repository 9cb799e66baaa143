"""What is run on many hosts, and which runs count."""

import json
from pathlib import Path

import pytest

from bench import hosts_commands
from bench.hosts_commands import Peer, Site
from cube.machines import Endpoint
from cube.runtime.errors import CubeError

NAMES = ["a", "b"]
RECAP = "a : ok=4  changed={}  unreachable=0  failed=0  skipped=0\n"
STILL = {
    "cube": json.dumps({
        "kind": "hosts",
        "hosts": [{"layers": [{"changed": []}]}, {"layers": [{"changed": []}]}],
    }),
    "pyinfra": "[a] No changes\n[b] No changes\n",
    "mitogen": RECAP.format(0) * 2,
    "pipelining": RECAP.format(0) * 2,
}  # fmt: skip
NOT = [
    ("cube", json.dumps({"kind": "hosts", "hosts": [{"layers": [{"changed": []}]}]})),
    ("cube", json.dumps({
        "kind": "hosts", "hosts": [{"layers": [{"changed": ["x"]}]}, {"layers": [{"changed": []}]}],
    })),
    ("pyinfra", "[a] No changes\n"),
    ("pyinfra", "[a] No changes\n[b] No changes\n[b] Success\n"),
    ("mitogen", RECAP.format(0)),
    ("pipelining", RECAP.format(0) + RECAP.format(1)),
    ("pipelining", RECAP.format(0) + RECAP.format(0).replace("unreachable=0", "unreachable=1")),
]  # fmt: skip


@pytest.mark.parametrize("command", STILL)
def test_a_run_without_a_change_on_all_hosts_counts(command: str) -> None:
    hosts_commands.require_unchanged(command, STILL[command], NAMES)


@pytest.mark.parametrize(("command", "output"), NOT)
def test_a_run_that_changed_something_or_left_a_host_out_is_refused(
    command: str, output: str
) -> None:
    with pytest.raises(CubeError, match="no run without a change"):
        hosts_commands.require_unchanged(command, output, NAMES)


def test_the_peers_are_those_that_can_be_run(tmp_path: Path) -> None:
    alone = Site(file=tmp_path / "cube.toml", names=NAMES)
    assert alone.commands == ["cube", "pyinfra"]
    access = {
        name: Endpoint(host=name, port=22, user="u", key_file=Path("/k"), known_hosts=Path("/h"))
        for name in NAMES
    }
    peer = Peer(
        venv=tmp_path / "venv", inventory=tmp_path / "hosts.yml", folder=tmp_path, access=access
    )
    (tmp_path / "venv/lib/python3.11/site-packages/ansible_mitogen/plugins/strategy").mkdir(
        parents=True
    )
    both = Site(file=alone.file, names=NAMES, peer=peer)
    argv, settings = hosts_commands.command("mitogen", both, NAMES)
    assert argv[-4:] == ["--forks", "2", "--limit", "a,b"]
    assert settings["ANSIBLE_STRATEGY"] == "mitogen_linear"
    assert settings["ANSIBLE_STRATEGY_PLUGINS"].startswith(str(tmp_path))
    assert hosts_commands.command("login", both, NAMES)[0][2].count("u@") == 2
    assert "ANSIBLE_STRATEGY" not in hosts_commands.command("pipelining", both, NAMES)[1]
