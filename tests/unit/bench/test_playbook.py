import json
import re
import shutil
from pathlib import Path

import jinja2.meta
import pytest

from bench import boxes, playbook, rebuild
from bench.playbook import DEPLOY
from bench.timing import PROJECT
from bench.tools import Site
from cube.baseimage.packer import check, inputs, tool
from cube.supply.package_cache import PackageCache
from cube.supply.wheel_cache import WheelCache

TEXT = "".join(file.read_text() for file in sorted(playbook.FOLDER.rglob("*.yml")))
#: What an Ansible task has without being given: facts, the item of a loop.
OF_ANSIBLE = {"ansible_facts", "item"}


def read_by(text: str) -> set[str]:
    environment = jinja2.Environment()
    environment.filters |= {"to_nice_json": str}  # of Ansible
    environment.tests["changed"] = environment.tests["defined"]
    return jinja2.meta.find_undeclared_variables(environment.parse(text))


def test_the_playbook_reads_only_variables_that_it_is_given_and_each_of_them(site: Site) -> None:
    given = {*playbook.variables(site.spec), "fact_subset"}
    registered = {*re.findall(r"register: (\w+)", TEXT)}
    templates = re.findall(r"\{\{ templates \}\}/([\w./-]+)", TEXT)
    texts = [(DEPLOY / "templates" / name).read_text() for name in templates]
    expressions = [f"{{{{ {one} }}}}" for one in re.findall(r"(?:when|that): (.*)", TEXT)]
    read = set().union(*(read_by(one) for one in [TEXT, *texts, *expressions]))
    assert read - OF_ANSIBLE - registered == given
    assert len(templates) == 6


def test_every_file_that_the_playbook_copies_is_ours() -> None:
    sources = re.findall(r'src: (?:"\{\{ files \}\}/)?([\w./-]+)[",]', TEXT)
    ours = {one.name for one in (DEPLOY / "files").rglob("*")}
    assert len(sources) > 12
    assert [one for one in sources if Path(one).name not in ours] == []


def test_the_playbook_writes_every_file_that_layer_1_writes() -> None:
    golden = (PROJECT / "tests/golden/layer1-debian-13.txt").read_text()
    ours = {Path(one) for one in re.findall(r"readlink -f (/[^)]+)", golden)}
    # The build's own are not in what is measured, nor time servers and what a role has written.
    others = ("cube-build", "50-cube.conf", "docker.json")
    ours -= {one for one in ours if any(word in str(one) for word in others)}
    assert len(ours) > 20
    missing = [one for one in ours if str(one) not in TEXT]
    loops = [Path(one) for one in re.findall(r"dest: (\S+)/\{\{ item \}\}", TEXT)]
    assert [one for one in missing if one.parent not in loops or one.name not in TEXT] == []


def test_packer_takes_the_playbook_in_our_first_boot(site: Site, tmp_path: Path) -> None:
    given = boxes.Sources(
        packages=PackageCache(url="", guest_url="http://10.0.2.2:1"),
        wheels=WheelCache(index="http://10.0.2.2:2/simple", folder=tmp_path),
    )
    shutil.copytree(tool.TEMPLATES, tmp_path / "packer")
    boot = tmp_path / "packer" / playbook.OS / "first-boot.pkr.hcl"
    rebuild.change(boot, rebuild.END, rebuild.template(site, given) + rebuild.END)
    assert "ANSIBLE_PIPELINING=1" in boot.read_text()
    assert rebuild.OUR_REST in (PROJECT / "cube/baseimage/packer/template.py").read_text()
    told = json.loads((tmp_path / "ansible.json").read_text())
    assert told.items() >= playbook.variables(site.spec).items()
    if tool.version() >= tool.PLUGINS_SINCE:
        pytest.skip("the Ansible provisioner is a plugin in this Packer")
    program = site.venv / "bin/ansible-playbook"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'ansible-playbook [core 2.19.0]'\n")
    program.chmod(0o755)
    values = check.sample_values(site.spec, playbook.OS, tmp_path)
    ours = inputs.write(values, tmp_path / "ours.json")
    argv = ["validate", f"-var-file={ours}", str(boot.parent)]
    tool.call(argv, work=tmp_path, cache=tmp_path / "cache", timeout_s=60)
