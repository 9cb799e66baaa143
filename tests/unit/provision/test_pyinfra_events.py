"""What a run's events are read from: a file that is written meanwhile, and not always whole."""

import json
from pathlib import Path

import pytest

from cube.provision.pyinfra_events import Journal
from cube.runtime.errors import ProvisionError

SAID = json.dumps({"event": "said", "text": "a word"})
EXIT = json.dumps({"event": "exit", "code": 0, "cause": ""})


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    journal = Journal(file=tmp_path / "events.jsonl")
    for written, heard in ((f"{SAID}\n{EXIT[:20]}", 0), (f"{SAID}\n{EXIT}\n", 1)):
        journal.file.write_text(written)
        journal.poll()
        assert journal.output == ["a word"]
        assert len(journal.of("exit")) == heard


@pytest.mark.parametrize("half", [SAID[:9], SAID, b"\xff".decode("latin-1")])
def test_half_a_line_before_another_is_told_with_its_file(tmp_path: Path, half: str) -> None:
    """A disk was full for a moment."""
    journal = Journal(file=tmp_path / "events.jsonl")
    journal.file.write_bytes(f"{SAID}\n{half}{EXIT}\n".encode("latin-1"))
    with pytest.raises(ProvisionError) as caught:
        journal.poll()
    assert caught.value.message.startswith(f"{journal.file}: a line of pyinfra's events is broken")
    assert "make room" in caught.value.hint
    assert journal.output == ["a word"]
