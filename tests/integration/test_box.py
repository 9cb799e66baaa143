"""`cube apply` and `cube drift` against a machine that is up, reached as a box would be."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.chain.key import keys
from cube.config.live_host import box_data
from cube.machines import boot, ssh
from cube.runtime.errors import DriftError, MachineError, SnapshotError
from tests.integration.conftest import PROJECT, Built
from tests.integration.desk import BIN, Desk, Done, standing

RECORD = "/var/lib/cube/layers.json"
#: Every file with its times; what a login writes by itself is no change of the box.
FILES = (
    r"find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp"
    r" -o -path /var/log -o -path /var/lib/fail2ban \) -prune"
    r" -o -printf '%p %T@ %C@ %s %m %u\n' | sort"
)


@pytest.fixture(scope="module")
def desk(built: Built, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with standing(built, key_file, tmp_path_factory.mktemp("desk")) as up:
        yield up


@pytest.fixture(scope="module")
def first(desk: Desk) -> Done:
    """The first application; every test needs it, for the box must claim this checkout."""
    return desk.cube("apply", "--layers", "1,5", "--prove", "--no-checks")


@pytest.fixture
def claims(desk: Desk, first: Done) -> Iterator[None]:
    """The box claims this checkout's layers, and its record is put back afterwards."""
    assert first.code == 0, first.told[-1]
    desk.sh(f"cp -a {RECORD} /root/record")
    yield
    desk.sh(f"cp -a /root/record {RECORD}")


def test_layers_are_applied_and_a_second_time_changes_nothing(desk: Desk, first: Done) -> None:
    assert first.code == 0, first.told[-1]
    assert [one["proved"] for one in first.of("applied")["layers"]] == [True, True]
    again = desk.cube("apply", "--layers", "1,5", "--no-checks")
    assert [one["changed"] for one in again.of("applied")["layers"]] == [[], []]


def test_the_box_notes_the_keys_of_its_layers(desk: Desk, first: Done) -> None:
    rows = json.loads(desk.sh(f"cat {RECORD}"))["layers"]
    data, parent = box_data(desk.spec), ""
    for layer in (1, 5):
        wanted = keys.layer_ingredients(desk.spec, layer, parent=parent, refresh="", data=data)
        parent = keys.digest(wanted)
        assert rows[str(layer)]["key"] == parent == first.layer("applied", layer)["key"]
        assert rows[str(layer)]["recipe"] == keys.recipe(layer, desk.spec.layers.roles(layer))


def test_a_comparison_changes_nothing_at_all(desk: Desk, claims: None) -> None:
    before = desk.sh(FILES)
    done = desk.cube("drift", "--no-checks")
    after = desk.sh(FILES)
    assert done.code == 0, done.told[-1]
    assert [one["drift"] for one in done.of("drift")["layers"]] == [False, False]
    assert [one["operations"] > 10 for one in done.of("drift")["layers"]] == [True, True]
    assert len(before.splitlines()) > 10000
    assert set(after.splitlines()) ^ set(before.splitlines()) == set()


def test_drift_is_named_exactly_and_mended(desk: Desk, claims: None) -> None:
    desk.sh(
        "echo '{}' >/etc/cube/release.json; chmod 600 /etc/cube/expectations.json;"
        " systemctl stop cube-health.timer; dpkg --purge nvtop; rm /etc/sysctl.d/60-cube.conf"
    )
    stamp = desk.sh(f"stat -c %Y {RECORD}; cat {RECORD}")
    found = desk.cube("drift", "--layers", "5")
    base = desk.cube("drift", "--layers", "1", "--no-checks")
    assert (found.code, base.code) == (DriftError.exit_code, DriftError.exit_code)
    assert desk.sh(f"stat -c %Y {RECORD}; cat {RECORD}") == stamp

    (only,) = base.layer("drift", 1)["differences"]
    assert (only["role"], only["operation"]) == ("common", "Keep kernel settings for AI work")

    drift = found.layer("drift", 5)
    assert (drift["problem"], drift["sources"]) == ("", "")
    differences = {one["operation"]: one for one in drift["differences"]}
    assert list(differences) == [
        "Install the monitoring tools",
        "Say which image this is",
        "Say what this machine is expected to carry",
        "Run the health checks at boot and every 15 minutes",
    ]
    install = differences["Install the monitoring tools"]["commands"][-1]
    assert " install nvtop ||" in install
    assert "    - {}" in differences["Say which image this is"]["diff"].splitlines()
    assert [one["title"] for one in drift["failed"]] == [
        "tool answers (nvtop)",
        "login is told the image (name)",
        "login is told the image (version)",
        "nothing fails in (health-check-layer5.sh)",
        "health timer is waiting",
    ]
    assert "check failed: health timer is waiting" in found.of("error")["details"]

    mended = desk.cube("apply", "--layers", "1,5", "--no-checks")
    assert [len(one["changed"]) for one in mended.of("applied")["layers"]] == [1, 4]
    assert desk.cube("drift", "--no-checks").code == 0


def test_claims_that_do_not_hold_are_told(desk: Desk, claims: None) -> None:
    rows = json.loads(desk.sh(f"cat {RECORD}"))["layers"]
    rows["5"]["recipe"] = "f" * 64
    rows["2"] = {**rows["1"], "roles": ["nvidia_driver"]}
    desk.sh(f"echo {ssh.quote(json.dumps({'layers': rows}))} >{RECORD}")
    done = desk.cube("drift", "--layers", "2,3,5", "--no-checks")
    assert done.code == DriftError.exit_code
    assert "does not apply there now: no NVIDIA GPU" in done.layer("drift", 2)["problem"]
    assert done.layer("drift", 3)["problem"] == "the box does not claim it"
    assert done.layer("drift", 5)["sources"].startswith("made by other sources than this")
    assert done.layer("drift", 5)["differences"] == []


def test_a_box_without_a_record_claims_nothing(desk: Desk, claims: None) -> None:
    desk.sh(f"rm {RECORD}")
    done = desk.cube("drift")
    assert done.code == DriftError.exit_code
    assert "claims no layer: /var/lib/cube/layers.json is missing" in done.of("error")["text"]


def test_a_snapshot_is_refused_before_anything_changes(desk: Desk, first: Done) -> None:
    desk.sh("echo '{}' >/etc/cube/release.json")
    done = desk.cube("apply", "--layers", "5", "--snapshot", "--no-checks")
    assert done.code == SnapshotError.exit_code
    assert "not a logical volume of LVM" in done.of("error")["text"]
    assert desk.sh("cat /etc/cube/release.json") == "{}\n"


def test_a_box_restarts_once_and_only_when_it_may(desk: Desk, first: Done) -> None:
    desk.sh("touch /run/reboot-required; echo dbus >/run/reboot-required.pkgs")
    before = boot.identity(desk.machine.endpoint)
    done = desk.cube("apply", "--layers", "5", "--no-checks")
    assert done.layer("applied", 5)["restart"] == "asked for by dbus"
    assert boot.identity(desk.machine.endpoint) == before
    done = desk.cube("apply", "--layers", "5", "--reboot")
    assert done.code == 0, done.told[-1]
    assert boot.identity(desk.machine.endpoint) != before
    assert done.layer("applied", 5)["restart"] == ""
    assert " passed" in done.layer("applied", 5)["checks"]  # after the restart


def test_a_failed_check_says_how_to_try_it_again(desk: Desk, first: Done) -> None:
    desk.sh("mv /usr/bin/nvtop /root/nvtop")
    done = desk.cube("apply", "--layers", "5")
    desk.sh("mv /root/nvtop /usr/bin/nvtop")
    error = done.of("error")
    assert error["error"] == "CheckError"
    assert "tool answers (nvtop)" in error["details"]
    assert f"--hosts=ssh://cube-build@127.0.0.1:{desk.machine.endpoint.port}" in error["hint"]


def test_a_box_that_does_not_answer_is_told(desk: Desk) -> None:
    gone = Desk(desk.machine, desk.spec)
    word = gone.word.replace(f":{desk.machine.endpoint.port}", ":9")
    argv = [str(BIN / "cube"), "drift", word, "--plain", "--spec", str(desk.spec.file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert done.returncode == MachineError.exit_code
    assert "cannot log in as cube-build@127.0.0.1:9" in done.stderr
