import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cube.build import report
from cube.runtime.check_report import Check, CheckReport
from cube.seal import manifest

GOLDEN = Path(__file__).parents[2] / "golden" / "manifest.json"
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Collects the text, the addresses and the open elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def data() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(GOLDEN.read_text())
    return loaded


FAILURE = report.Failure(
    stage="3 provisioning",
    message="1 of 40 checks of layer1 failed: ufw denies incoming <traffic>",
    hint="look at the machine: cube ssh",
    details="E  assert 'inactive' == 'active'",
)


def test_page_is_well_formed_and_needs_nothing_else(data: dict[str, Any]) -> None:
    html = report.render(data)
    page = Page(html)
    assert page.open == []
    assert page.addresses == []
    assert "url(" not in html
    assert "@import" not in html


def test_built_image_says_what_waits_for_hardware(data: dict[str, Any]) -> None:
    text = Page(report.render(data)).text
    assert "It is not certified: what one check needs is not on this machine" in text
    assert "a virtual machine has no sensors" in text


def test_certified_image_says_so(data: dict[str, Any]) -> None:
    data["status"] = "certified"
    assert "Certified" in Page(report.render(data)).text


@pytest.mark.parametrize(
    "fact",
    [
        "vault-cube 0.1.0", "2026-01-31 13:00:05 UTC", "584 MiB", "16 GiB", "6.12.57+deb13-amd64",
        "ab" * 32, "sha256sum --check vault-cube-debian-13.qcow2.sha256", "again 62 s",
        "BIOS", "UEFI", "Secure Boot unsupported enabled", "1" * 32, "2" * 32, "SHA256:1abc",
        "58 of 61 changed", "no NVIDIA GPU was found",
        "26.1.5+dfsg1-9+b9", "refused", "key 111111111111", "2 min 41 s", "commit 000000000000",
    ],
)  # fmt: skip
def test_page_tells(data: dict[str, Any], fact: str) -> None:
    assert fact in Page(report.render(data)).text


def test_page_tells_that_secure_boot_was_not_proven(data: dict[str, Any]) -> None:
    assert "not proven" not in Page(report.render(data)).text
    data["proof"]["secure_boot"] = {"proven": False, "reason": "this machine has no firmware"}
    data["proof"]["clones"][1] |= {"firmware": "uefi", "secure_boot": "unsupported"}
    text = Page(report.render(data)).text
    assert "not proven Secure Boot: this machine has no firmware." in text
    assert "Secure Boot unsupported unsupported" in text


def test_failed_build_says_what_failed_and_what_to_do() -> None:
    page = Page(report.render({"image": {"name": "vault-cube", "version": "0.1.0"}}, FAILURE))
    assert page.open == []
    assert "Failed in: 3 provisioning" in page.text
    assert "ufw denies incoming <traffic>" in page.text
    assert "What to do: look at the machine: cube ssh" in page.text
    assert "sha256sum" not in page.text


def test_unfinished_build_is_told() -> None:
    failed = Check(
        id="checks/layer1/test_x.py::test_y",
        title="it is so",
        group="layer1",
        outcome="failed",
        evidence="container",
        reason="it is not",
    )
    data = manifest.unfinished(
        name="vault-cube",
        version="0.1.0",
        layers=[],
        checks=CheckReport(checks=(failed,)),
        stages=[manifest.Stage(number=1, name="pre-build validation", seconds=12.0)],
        built_at=datetime(2026, 1, 31, tzinfo=UTC),
    )
    text = Page(report.render(data, FAILURE)).text
    assert "1 failed Check Judged on Time it is so it is not" in text
    assert "pre-build validation" in text


@pytest.mark.parametrize("missing", ["os", "artifact", "layers", "checks", "proof", "stages"])
def test_failed_build_is_told_from_partial_data(data: dict[str, Any], missing: str) -> None:
    del data[missing]
    assert Page(report.render(data, FAILURE)).open == []


def test_failed_checks_come_first(data: dict[str, Any]) -> None:
    bad = {
        **data["checks"]["results"][0],
        "title": "it broke",
        "outcome": "failed",
        "reason": "expected 1, saw 2",
    }
    data["checks"]["results"].append(bad)
    text = Page(report.render(data, FAILURE)).text
    places = [text.index(word) for word in ("1 failed Check", "1 deferred Not", "1 passed Check")]
    assert places == sorted(places)
    assert "expected 1, saw 2" in text


STEPS = [
    {"text": "Stage 1: validation", "start": 0.0, "seconds": 10.0, "depth": 0, "outcome": "done"},
    {"text": "Stage 3: provisioning", "start": 10.0, "seconds": 70.0, "depth": 0,
     "outcome": "failed"},
    {"text": "Applying layer 1", "start": 30.0, "seconds": 50.0, "depth": 1, "outcome": "failed"},
    {"text": "Booting", "start": 30.0, "seconds": 0.25, "depth": 2, "outcome": "done"},
]  # fmt: skip
OPERATIONS = [
    {"text": "common: Install packages", "seconds": 41.0,
     "data": {"layer": 1, "changed": True, "execs": 3}},
    {"text": "Note it", "seconds": 0.5, "data": {"changed": False, "execs": 1}},
]  # fmt: skip


def test_steps_stand_below_their_stage_with_bars() -> None:
    html = report.render({"steps": STEPS, "seconds": 80.0}, FAILURE)
    page = Page(html)
    assert page.open == []
    assert "1: validation 10 s" in page.text
    assert "3: provisioning failed 70 s Applying layer 1 failed 50 s Booting" in page.text
    assert "margin-left: 37.50%; width: 62.50%" in html
    assert "<details open><summary" in html
    assert "<script" not in html


def test_bars_lie_within_the_whole() -> None:
    bars = report.bars(STEPS)
    assert [bar["left"] for bar in bars] == [0.0, 12.5, 37.5, 37.5]
    assert all(bar["left"] + bar["width"] <= 100 for bar in bars)
    assert report.bars([]) == []


def test_stages_of_a_manifest_follow_each_other(data: dict[str, Any]) -> None:
    stages = [{"number": n, "name": "x", "seconds": n * 10.0} for n in (1, 2, 5)]
    steps = report.steps(stages, FAILURE)
    assert [step["outcome"] for step in steps] == ["done", "done", "failed"]
    assert [bar["left"] for bar in report.bars(steps)] == [0, 12.5, 37.5]
    assert "1: Pre-build validation 12 s" in Page(report.render(data)).text


def test_bars_of_nothing_have_no_length() -> None:
    stages = [{"number": 1, "name": "x", "seconds": 0.0}]
    assert report.bars(report.steps(stages, None))[0]["width"] == 0


def test_the_slowest_operations_say_what_they_did(data: dict[str, Any]) -> None:
    text = Page(report.render({**data, "operations": OPERATIONS})).text
    assert "common: Install packages Layer 1 changed something, 3 commands 41 s" in text
    assert "Note it changed nothing, 1 command 0.5 s" in text


def test_links_say_what_the_cache_saved(data: dict[str, Any]) -> None:
    text = Page(report.render(data)).text
    assert "Chain the cache saved 2 min 36 s" in text
    assert "base 000000000000 reused 2026-01-31 12:04:00 UTC 535 MiB 2 min 36 s" in text
    assert "layer1 111111111111 made 2026-01-31 12:07:00 UTC 1.6 GiB 2 min 41 s" in text
    assert "Saved by reuse 2 min 36 s" in text


def test_links_that_are_all_new_saved_nothing(data: dict[str, Any]) -> None:
    data["links"][0]["reused"] = False
    data["links"][1] |= {"size_bytes": 0, "seconds": 0.0}
    text = Page(report.render(data)).text
    assert "everything was made anew" in text
    assert "Saved by reuse" not in text
    assert "layer1 111111111111 skipped 2026-01-31 12:07:00 UTC Layers" in text


def test_report_is_written_whole(tmp_path: Path, data: dict[str, Any]) -> None:
    report.write(tmp_path / "report.html", data)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
