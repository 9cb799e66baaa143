"""What all health checks have in common: exit codes, arguments, JSON."""

import json
import os

import pytest

from cube.runtime.run import run

from .conftest import Box, interpreter, statuses

SCRIPTS = [*(f"health-check-layer{n}.sh" for n in range(1, 6)), "validate-gpus.sh"]
LAYER_SCRIPTS = SCRIPTS[:5]

EVIL = [
    'a "quoted" word',
    "back\\slash \\n \\u0041",
    "tab\tand\x1b[31mcolour\x07",
    "two\nlines",
    "snow ☃ and 😀",
    "broken \\xff \\xc3\\x28 utf-8",
    "$(touch /tmp/no) `id` ${HOME} %s %n",
    "",
    "x" * 5000,
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_exit_code(box: Box, script: str) -> None:
    done = box.run(script, "--help")
    assert done.returncode == 0
    for word in (script, "--json", "  0 ", "  1 ", "  2 ", "  77 "):
        assert word in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_unknown_argument_is_refused(box: Box, script: str) -> None:
    done = box.run(script, "--jsno")
    assert done.returncode == 2
    assert "--jsno" in done.stderr


@pytest.mark.parametrize("script", LAYER_SCRIPTS)
@pytest.mark.parametrize("recorded", [True, False])
def test_a_layer_that_is_not_there_is_no_pass(box: Box, script: str, recorded: bool) -> None:
    if recorded:
        box.install(*({1, 2, 3, 4, 5} - {int(script[18])}))
    code, data = box.judge(script)
    assert code == 77
    assert data["outcome"] == "not_run"
    assert data["evidence"] == "none"
    assert data["reason"]


@pytest.mark.parametrize("script", LAYER_SCRIPTS)
@pytest.mark.parametrize("text", ["", "{", "[]", '{"layers": []}', '{"layers": {"N": 1}}'])
def test_a_damaged_record_is_a_failure(box: Box, script: str, text: str) -> None:
    box.write("var/lib/cube/layers.json", text.replace("N", script[18]))
    code, data = box.judge(script)
    assert code == 1
    assert statuses(data) == {"record of layers": "FAIL"}


def test_a_layer_without_any_of_its_roles_is_no_pass(box: Box) -> None:
    box.install(4, without=("frameworks",))
    code, data = box.judge("health-check-layer4.sh")
    assert code == 77
    assert statuses(data) == {"role frameworks": "SKIP"}


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("code", [0, 3])
def test_json_is_valid_whatever_a_program_says(box: Box, text: str, code: int) -> None:
    box.install(3)
    box.fake_script("nvidia-ctk", f"printf '%b' {json.dumps(text)}; exit {code}")
    _, data = box.judge("health-check-layer3.sh")
    detail = next(i["detail"] for i in data["checks"] if i["name"] == "container toolkit")
    assert len(detail) <= 300
    assert detail.isprintable() or "\ufffd" in detail


def test_json_keeps_quotes_and_signs(box: Box) -> None:
    box.install(3)
    box.fake("nvidia-ctk", 'say "☃" \\ now')
    _, data = box.judge("health-check-layer3.sh")
    assert 'say "☃" \\ now' in [item["detail"] for item in data["checks"]]


def test_a_program_that_hangs_is_a_failure(box: Box) -> None:
    box.install(3)
    box.fake_script("nvidia-ctk", "sleep 600")
    code, data = box.judge("health-check-layer3.sh", CUBE_LIMIT_S="1")
    assert code == 1
    assert "no answer within 1 s" in str(data["checks"])


def test_text_says_that_it_is_simulated(box: Box) -> None:
    box.install(3)
    assert "(simulated)" in box.run("health-check-layer3.sh").stdout.splitlines()[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's rights")
@pytest.mark.parametrize("script", LAYER_SCRIPTS)
def test_root_is_asked_for(script: str) -> None:
    done = run(
        ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", *interpreter(script)],
        accept=range(256),
    )
    assert done.returncode == 2
    assert done.stderr == f"{script}: needs root: sudo {script}\n"
