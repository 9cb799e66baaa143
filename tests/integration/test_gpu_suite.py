"""validate-gpus.sh on a real guest whose GPUs are simulated: installed, by hand, by the timer."""

import base64
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cube.machines import ssh
from tests.integration.conftest import Built
from tests.integration.desk import Desk, standing
from tests.simulated.box import ON_A_GUEST, SimulatedBox

SUITE = "/usr/local/bin/validate-gpus.sh"


@dataclass(frozen=True)
class Guest:
    """A box on the desk, and a folder for the hardware that it is given."""

    desk: Desk
    folder: Path

    def plug(self, fault: str) -> None:
        """Give the guest four GPUs, with a fault or none."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))  # a fault may be planted twice
        box = SimulatedBox.make(folder / fault, fault)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(box.folder, arcname=".")
        self.unplug()
        unpack = f"mkdir -p {ON_A_GUEST}; base64 -d | tar xzC {ON_A_GUEST} --no-same-owner"
        text = base64.b64encode(packed.getvalue()).decode()
        ssh.execute(self.desk.machine.endpoint, f"sudo sh -c {ssh.quote(unpack)}", stdin=text)

    def unplug(self) -> None:
        """Take the GPUs away."""
        self.desk.sh(f"rm -rf {ON_A_GUEST}")

    def judge(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run the suite as its user would."""
        words = " ".join((SUITE, "--json", *arguments))
        command = f"sudo {words}"
        done = ssh.execute(self.desk.machine.endpoint, command, accept=range(256))
        told: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, told


@pytest.fixture(scope="module")
def guest(
    built: Built, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    folder = tmp_path_factory.mktemp("guest")
    with standing(built, key_file, folder) as desk:
        applied = desk.cube("apply", "--layers", "1,5", "--no-checks")
        assert applied.code == 0, applied.told[-1]
        yield Guest(desk, folder)


def failed(told: dict[str, Any]) -> set[str]:
    return {check["name"] for check in told["checks"] if check["status"] == "FAIL"}


def test_a_guest_without_gpus_is_not_judged(guest: Guest) -> None:
    guest.unplug()
    code, told = guest.judge()
    assert (code, told["outcome"], told["evidence"]) == (77, "not_run", "none")


def test_healthy_gpus_pass_with_load_and_are_simulated(guest: Guest) -> None:
    guest.plug("healthy")
    code, told = guest.judge("--load", "--seconds", "1")
    assert (code, told["outcome"], told["evidence"]) == (0, "pass", "simulated")
    assert len(told["figures"]["power_watts"]["GPU 3"]) >= 3
    assert guest.desk.sh("ls /usr/local/lib/cube").count("__pycache__") == 0
    assert guest.desk.sh("pgrep -f [g]pu_burn || true") == ""


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("lost", {"GPU 3"}),
        ("drops_to_gen4", {"GPU 3 link under load"}),
        ("xid_79", {"kernel log"}),
        ("mismatch", {"driver answers", "driver versions agree"}),
    ],
)
def test_a_fault_is_found_on_a_guest_too(guest: Guest, fault: str, names: set[str]) -> None:
    guest.plug(fault)
    code, told = guest.judge("--load", "--quick", "--seconds", "1")
    assert (code, failed(told)) == (1, names)
    assert told["evidence"] == "simulated"


@pytest.mark.parametrize(("fault", "outcome"), [("healthy", "pass"), ("hot", "fail")])
def test_the_timer_s_run_sees_them_inside_its_confinement(
    guest: Guest, fault: str, outcome: str
) -> None:
    guest.plug(fault)
    guest.desk.sh("systemctl start cube-health.service")
    record = json.loads(guest.desk.sh("cat /var/lib/cube/health.json"))
    (told,) = [result for result in record["results"] if result["check"] == "gpus"]
    assert (told["outcome"], told["evidence"]) == (outcome, "simulated")
    assert failed(told) == ({"GPU 3 temperature"} if fault == "hot" else set())


def test_a_validation_tells_the_same_and_says_simulated(guest: Guest) -> None:
    guest.plug("slow_copies")
    done = guest.desk.cube("validate", "--suites", "gpus", "--quick")
    told = done.of("validation")
    assert (told["verdict"], told["evidence"]) == ("failed", "simulated")
    details = str(done.of("error")["details"])
    assert details.startswith("gpus GPU 3 bandwidth: 0000:c1:00.0 NVIDIA GeForce RTX 5090: 56.1 ")
    assert "limit 50: seat the card and its riser again" in details
    page = Path(told["files"]["html"]).read_text()
    assert "Utilisation" in page
    assert "GPU 3" in page
