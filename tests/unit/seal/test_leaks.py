"""What the build knows: what is searched for, of addresses, logins and certificates."""

import base64
from pathlib import Path

import pytest

from cube import config
from cube.config.workspace import Workspace
from cube.disks import qcow2
from cube.runtime import run
from cube.runtime.errors import SealError
from cube.seal import leaks


def known(tmp_path: Path, text: str) -> dict[str, str]:
    loaded = config.load_text(text, tmp_path / "cube.toml")
    work = Workspace.of(loaded)
    work.build_key.parent.mkdir(parents=True, exist_ok=True)
    work.build_key.with_name(f"{work.build_key.name}.pub").write_text("ssh-ed25519 AAAAkey cube\n")
    return {needle.text: needle.what for needle in leaks.needles(loaded, work)}


def test_the_build_itself_is_searched_for(tmp_path: Path) -> None:
    found = known(tmp_path, '[network]\nca_certificates = "none"\n')
    assert found["cube-build"] == "the build account"
    assert found["AAAAkey"] == "the build key"
    assert found[str(tmp_path / "build/debian-13")] == "the build folder"
    assert {"the build account", "the build key", "the build folder"} >= set(found.values()) - {
        "the builder's account and host",
        "a resolver of the build",
    }


def test_the_builder_and_its_private_resolvers_are_searched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "anna")
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "# nameserver 192.168.9.9\nsearch example.org\nnameserver 192.168.1.1\nnameserver\n"
        "nameserver 1.1.1.1\nnameserver 127.0.0.53\nnameserver fd00::1\nnameserver x\n"
    )
    found = list(leaks.of_builder("desk", conf))
    assert [one.text for one in found] == [
        "anna@desk",
        "nameserver 192.168.1.1",
        "nameserver fd00::1",
    ]
    assert all(one.example for one in found)


@pytest.mark.parametrize("host", leaks.NAMELESS)
def test_a_host_without_a_name_is_not_searched_for(tmp_path: Path, host: str) -> None:
    assert list(leaks.of_builder(host, tmp_path / "none")) == []


def test_what_packages_have_as_an_example_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"nameserver 10.0.0.1")
    wanted = [leaks.Needle(what="a resolver", text="nameserver 10.0.0.1", example=True)]
    names = ["usr/share/doc/x", "usr/local/etc/x", "etc/resolv.conf.old"]
    monkeypatch.setattr(leaks, "trace", lambda *_: names)
    assert [hit.place for hit in leaks.search(raw, [], wanted)] == names[1:]


def test_a_certificate_that_the_distribution_ships_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"BBBB")
    wanted = [leaks.Needle(what="the certificate x", text="BBBB", shipped=True)]
    names = ["etc/ssl/certs/ca-certificates.crt"]
    monkeypatch.setattr(leaks, "trace", lambda *_: names)
    assert [hit.place for hit in leaks.search(raw, [], wanted)] == names
    names.append("usr/share/ca-certificates/mozilla/X.crt")
    assert leaks.search(raw, [], wanted) == []


SECRET = leaks.Needle(what="the login of network.proxy", text="s" * 4096)


def test_what_a_clone_wrote_is_searched_and_the_name_of_its_image_is_not(tmp_path: Path) -> None:
    image, overlay = tmp_path / "image.qcow2", tmp_path / "clone.qcow2"
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"])
    run.run(["qemu-io", "-c", f"write -P {ord('s')} 0 8k", image])
    qcow2.create_overlay(overlay, image)
    wanted = [SECRET, leaks.Needle(what="the build folder", text=str(tmp_path))]
    leaks.expect_unwritten(overlay, wanted, "clone 1")
    run.run(["qemu-io", "-c", f"write -P {ord('s')} 512k 8k", overlay])
    with pytest.raises(SealError, match=r"clone 1: the login of network\.proxy"):
        leaks.expect_unwritten(overlay, wanted, "clone 1")


@pytest.mark.parametrize("key", ["proxy", "apt_mirror", "apt_security_mirror", "pypi_index"])
def test_the_address_and_the_login_of_every_url(tmp_path: Path, key: str) -> None:
    url = "http://anna:p%40ssword@host.example:3128"
    found = known(tmp_path, f'[network]\nca_certificates = "none"\n{key} = "{url}"\n')
    where = f"network.{key}"
    assert found["//host.example:3128"] == found["@host.example:3128"] == f"the address of {where}"
    sent = base64.b64encode(b"anna:p@ssword").decode()
    for text in ("anna:p%40ssword", "anna:p@ssword", sent):
        assert found[text] == f"the login of {where}"
    assert found["p@ssword"] == found["p%40ssword"] == f"the password of {where}"


def test_a_short_password_is_searched_for_with_its_user_only(tmp_path: Path) -> None:
    network = '[network]\nca_certificates = "none"\nproxy = "http://a:b@proxy:1"\n'
    found = known(tmp_path, network)
    assert found["a:b"] == "the login of network.proxy"
    assert "b" not in found


def test_where_a_box_gets_updates_from_may_stay_but_for_the_login(tmp_path: Path) -> None:
    text = '[network]\nca_certificates = "none"\n[stack]\nnvidia_url = "https://mirror.example/x"\n'
    assert not any("mirror.example" in needle for needle in known(tmp_path, text))
    found = known(tmp_path, text.replace("mirror.example", "me:tokentoken@mirror.example"))
    assert "me:tokentoken" in found
    assert not any("mirror.example" in needle for needle in found)


def test_a_line_of_every_certificate(tmp_path: Path) -> None:
    file = tmp_path / "two.crt"
    bodies = ["AAAA\nBBBB\nCCCC\n", "DDDD\nEEEE\nFFFF\n"]
    marks = "-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n"
    file.write_text("".join(marks.format(body) for body in bodies))
    assert [needle.text for needle in leaks.of_certificates(file)] == ["BBBB", "EEEE"]


def test_nothing_empty_is_searched_for(tmp_path: Path) -> None:
    """An empty line of a list of patterns matches everything."""
    assert all(known(tmp_path, '[network]\nproxy = "http://user@proxy:1"\n'))


def test_a_disk_that_is_larger_than_the_memory_is_searched(tmp_path: Path) -> None:
    raw, size = tmp_path / "raw", 256 * 1024**3
    with raw.open("wb") as file:
        file.truncate(size)
        for offset, text in ((5, b"first\nword"), (size - 100, b"x the last word x")):
            file.seek(offset)
            file.write(text)
    found = list(leaks.matches(raw, ["word", "the last word"]))
    assert found == [(11, "word"), (size - 98, "the last word")]


@pytest.mark.parametrize("at", [4090, 4093, 4095, 4096, 4097, 8189])
def test_a_needle_across_two_pieces_is_found_once(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "CHUNK", 4096)
    raw = tmp_path / "raw"
    raw.write_bytes(b"x" * at + b"needle" + b"x" * 9000)
    assert list(leaks.matches(raw, ["needle", "no"])) == [(at, "needle")]
