"""Exit codes are documented, unique and stable."""

from pathlib import Path

from cube.runtime import errors

DOCS = Path(__file__).parents[3] / "docs" / "reference.md"


def kinds() -> list[type[errors.CubeError]]:
    return [errors.CubeError, *errors.CubeError.__subclasses__()]


def test_every_kind_has_an_exit_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in kinds()] + [0, 2, errors.INTERRUPTED]
    assert len(codes) == len(set(codes))


def test_every_exit_code_is_documented() -> None:
    text = DOCS.read_text()
    for kind in kinds():
        assert f"| {kind.exit_code} | `{kind.__name__}` |" in text


def test_no_login_of_a_url_is_told() -> None:
    url = "https://me:secret@i.example/"
    error = errors.CubeError(f"{url} fails", hint=f"try: curl {url}", details=f"got {url}")
    told = [str(error), error.message, error.hint, error.details]
    assert ["secret" in text or "me:" in text for text in told] == [False] * 4
    assert error.hint == "try: curl https://***@i.example/"
