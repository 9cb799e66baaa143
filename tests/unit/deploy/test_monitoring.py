"""Role monitoring: its data and its files. Its commands are in tests/golden/layer5-*.txt."""

import json

import pytest
from pyinfra.api.exceptions import DeployError

from deploy.roles.monitoring import Monitoring, render_release
from deploy.runner.data import build
from deploy.runner.sources import file_text


def test_release_names_the_image() -> None:
    data = build(Monitoring, {"image_name": "vault-cube", "image_version": "1.2.3"})
    assert json.loads(render_release(data)) == {"name": "vault-cube", "version": "1.2.3"}


def test_release_quotes_what_it_is_given() -> None:
    data = Monitoring(image_name='a "b" \\', image_version="1")
    assert json.loads(render_release(data))["name"] == 'a "b" \\'


def test_a_missing_key_is_named() -> None:
    with pytest.raises(DeployError, match="image_version"):
        build(Monitoring, {"image_name": "vault-cube"})


def test_programs_name_the_system_s_own_interpreter() -> None:
    assert file_text("monitoring/60-cube").splitlines()[0] == "#!/bin/sh"
