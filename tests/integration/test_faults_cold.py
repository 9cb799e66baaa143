"""What goes wrong before there is a link: one clear error, an exit code, nothing left behind."""

import re
import signal

import pytest

from cube.runtime.errors import INTERRUPTED, BusyError, PackerError, SpecError, VerifyError
from tests.integration.conftest import PROJECT, copy_project
from tests.integration.test_faults import Keep, Place, place, run_of

__all__ = ["place", "run_of"]


def test_a_malformed_specification(place: Place, run_of: Keep) -> None:
    run = run_of(place.start(spec="[image]\nnam = 'x'\ntimezone = 'Mars'\n"))
    assert run.end() == SpecError.exit_code
    assert 'did you mean "name"?' in run.text
    assert "Europe/Berlin" in run.text
    assert "Traceback" not in run.text
    place.assert_nothing_left()


def test_an_unreachable_mirror(place: Place, run_of: Keep) -> None:
    spec = '[network]\napt_mirror = "http://127.0.0.1:9/debian"\n[build]\ndir = "build"\n'
    run = run_of(place.start(spec=spec))
    assert run.end() == PackerError.exit_code
    assert "127.0.0.1:9" in run.text
    assert "Traceback" not in run.text
    place.assert_nothing_left()


def test_a_template_that_does_not_validate(place: Place, run_of: Keep) -> None:
    project = copy_project(place.folder / "project")
    template = project / "packer/debian-13/first-boot.pkr.hcl"
    template.write_text(template.read_text().replace("headless ", "headles "))

    run = run_of(place.start(project=project))

    assert run.end() == VerifyError.exit_code
    assert '"headles"' in run.text
    assert "Traceback" not in run.text
    place.assert_nothing_left()


def test_an_iso_with_a_wrong_checksum(place: Place, run_of: Keep) -> None:
    (place.folder / "x.iso").write_bytes(b"not what was promised")
    text = (PROJECT / "cube.toml").read_text().replace('dir = "build"', f'dir = "{place.folder}"')
    for key, value in (("iso_url", f"file://{place.folder}/x.iso"), ("iso_sha256", "0" * 64)):
        text = re.sub(rf"^{key} = .*$", f'{key} = "{value}"', text, flags=re.MULTILINE)

    run = run_of(place.start(spec=text, image="ubuntu-24.04"))

    assert run.end() == PackerError.exit_code
    assert "x.iso: wrong checksum: sha256 is" in run.text
    assert "correct iso_sha256 in cube.toml" in run.text
    place.assert_nothing_left()


def test_a_second_build_is_refused_with_the_pid(place: Place, run_of: Keep) -> None:
    first = run_of(place.start())
    first.wait_for("Stage 1")
    second = run_of(place.start())
    assert second.end() == BusyError.exit_code
    assert f"pid {first.process.pid}" in second.text
    first.process.send_signal(signal.SIGINT)
    assert first.end() == INTERRUPTED
    place.assert_nothing_left()


@pytest.mark.parametrize(("step", "program"), [("Stage 1", ""), ("Stage 2", "mmdebstrap")])
def test_ctrl_c_in_a_cold_build(place: Place, run_of: Keep, step: str, program: str) -> None:
    run = run_of(place.start())
    run.wait_for(step)
    place.wait_for_program(program)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == INTERRUPTED
    assert "interrupted" in run.text
    place.assert_nothing_left()
