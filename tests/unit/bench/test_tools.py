import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench import tools
from bench.timing import Runs
from bench.tools import ON_HOSTS, VARIANTS, Site, Variant
from cube.runtime.errors import CubeError
from deploy.connector.ssh import DATA_META

RECAP = "a : ok=4  changed={}  unreachable=0  failed=0  skipped=0\n"
PYINFRA = "    [here] No changes\n    [there] Success\n  Grand total   46    {}     10      -   "
LAYERS = [{"operations": 4, "changed": ["x"]}, {"operations": 0, "changed": []}]
APPLIED = [{"box": name, "layers": LAYERS} for name in ("here", "there")]


def record(kind: str, **data: object) -> str:
    return f"{json.dumps({'kind': 'step'})}\n{json.dumps({'kind': kind, **data})}\nbye\n"


@pytest.mark.parametrize(
    ("name", "output", "changed"),
    [
        ("cube apply", record("hosts", hosts=APPLIED), 2),
        ("cube apply", record("hosts", hosts=APPLIED[:1]), None),
        ("cube apply", record("applied", **APPLIED[0]), None),
        ("cube apply", record("hosts", hosts=[{**one, "layers": []} for one in APPLIED]), None),
        ("cube apply", record("error"), None),
        ("cube", PYINFRA.format("37"), 37),
        ("cube", PYINFRA.format("-"), 0),
        ("cube", PYINFRA.format("-").replace("there", "where"), None),
        ("cube", "[here] Success [there] Success", None),
        ("plain", RECAP.format(0) + RECAP.format(3), 3),
        ("plain", RECAP.format(0), None),
        ("plain", RECAP.format(0) + RECAP.format(0).replace("failed=0", "failed=1"), None),
        ("apt", "Unpacking a\nSetting up a (1) ...\nSetting up b (2) ...\n", 2),
    ],
)
def test_a_tool_is_believed_by_what_it_says_of_every_host(
    name: str, output: str, changed: int | None
) -> None:
    with pytest.raises(CubeError) if changed is None else nullcontext():
        assert (VARIANTS | ON_HOSTS)[name].changes(output, ["here", "there"]) == changed


def test_hosts_are_reached_in_the_same_way_by_all(site: Site, tmp_path: Path) -> None:
    built = {label: one.build(site) for label, one in ON_HOSTS.items()}
    (listed, other) = json.loads((tmp_path / "hosts.json").read_text())
    assert (listed["name"], listed["endpoint"]["port"], other["endpoint"]["port"]) == ("here", 7, 8)
    told = yaml.safe_load((tmp_path / "inventory.yml").read_text())["all"]["hosts"]
    assert (told["here"]["ansible_port"], told["there"]["ansible_port"]) == (7, 8)
    assert built["cube apply"][0][2:4] == ["here", "there"]
    assert built["Ansible, mitogen"][0][-3:-1] == ["--forks", "2"]
    assert built["the limit: OpenSSH's login to each host"][0][2].count("u@") == 2


def test_one_host_is_told_by_another_record_and_limits_are_for_one(site: Site) -> None:
    assert tools.applied_changes(record("applied", **APPLIED[0]), ["here"]) == 1
    one = replace(site, ways={"here": site.ways["here"]})
    built = {name: variant.build(one) for name, variant in VARIANTS.items()}
    assert " ufw " in built["apt"][0][-1]
    assert "TREES=''" in built["script"][2]
    assert "ANSIBLE_STRATEGY" not in built["pipelining"][1]


@pytest.mark.parametrize(("changed", "idle"), [(0, False), (2, True)])
def test_a_run_that_changed_what_it_should_not_is_no_figure(
    site: Site, changed: int, idle: bool
) -> None:
    variant = Variant("true", lambda _: (["true"], {}, ""), lambda *_: changed)
    runs = Runs()
    with pytest.raises(CubeError, match=f"true, 10: {changed} changes were made"):
        tools.measure(runs, ("true", 10), variant, site, idle=idle)
    tools.measure(runs, ("true", 10), variant, site, idle=not idle)
    assert len(runs.seconds("true", 10)) == 1


def test_the_switches_of_the_stock_connection_are_the_connectors() -> None:
    assert {word.partition("=")[0] for word in tools.STOCK[1::2]} <= {*DATA_META}
