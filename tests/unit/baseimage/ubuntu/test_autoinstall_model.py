"""The model of the installer's answers against the installer itself, input by input.

Each row of the table was given to the installer's server in its dry-run mode (versions:
docs/how-it-works.md). `installer` is its verdict and `ours` our complaint, or `accepted`. A row
that we refuse and the installer accepts is marked as deliberate: its complaint says why.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cube.baseimage.ubuntu import autoinstall, noble
from tests.unit.answers import DROP, answers, changed, write

TABLE = Path(__file__).parent / "installer_verdicts.yaml"
ROWS: list[dict[str, Any]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
ACCEPTED = "accepted"


def problems(row: dict[str, Any]) -> list[str]:
    change = {path: DROP if value == "(absent)" else value for path, value in row["change"].items()}
    return autoinstall.check_user_data(write(changed(answers(), change)))


@pytest.mark.parametrize("row", ROWS, ids=[row["input"] for row in ROWS])
def test_the_verdict_is_the_one_in_the_table(row: dict[str, Any]) -> None:
    assert (problems(row) or [ACCEPTED])[0] == row["ours"]


def test_what_the_installer_refuses_is_refused() -> None:
    refused = [row for row in ROWS if row["installer"] == "rejected"]
    assert len(refused) > 100
    assert [row["input"] for row in refused if row["ours"] == ACCEPTED] == []


def test_each_difference_is_deliberate_and_no_other_row_is() -> None:
    different = [row for row in ROWS if row["ours"] != ACCEPTED and row["installer"] == ACCEPTED]
    assert [row["input"] for row in different] == [
        row["input"] for row in ROWS if row.get("deliberate")
    ]


def test_the_inputs_of_the_table_are_different_ones() -> None:
    assert len({row["input"] for row in ROWS}) == len(ROWS)
    assert len({str(row["change"]) for row in ROWS}) == len(ROWS)


# The names that the installer knows.


def test_keyboards_have_their_variants() -> None:
    assert len(noble.keyboards()) == 99
    assert {"", "nodeadkeys", "neo"} <= noble.keyboards()["de"]
    assert noble.keyboards()["et"] == {""}
    assert answers()["keyboard"]["layout"] in noble.keyboards()


def test_names_are_reserved() -> None:
    assert len(noble.reserved_names()) == 110
    assert {"root", "plugdev", "admin", "libvirt-qemu", "Debian-exim"} <= noble.reserved_names()
