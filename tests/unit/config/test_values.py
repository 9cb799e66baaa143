"""The other values of cube.toml: judged by what the image knows, not by what this machine does."""

from pathlib import Path

import pytest

from cube import config
from cube.config import known
from cube.config.model import OS_NAMES
from cube.runtime.errors import SpecError

FILE = Path("/folder/cube.toml")
UBUNTU = f"[os.'ubuntu-24.04']\niso_url = 'http://x/y'\niso_sha256 = '{'0' * 64}'"


def refusal(text: str, os: str = "") -> str:
    """Return the one line about a mistake."""
    with pytest.raises(SpecError) as caught:
        config.load_text(f"{text}\n{UBUNTU}", FILE, os=os)
    assert not caught.value.details
    return caught.value.message.removeprefix(f"{FILE}: ")


@pytest.mark.parametrize("os", OS_NAMES)
@pytest.mark.parametrize("name", ["Etc/UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "UTC"])
def test_time_zones_of_the_image(os: str, name: str) -> None:
    text = f"[image]\ntimezone = '{name}'\n{UBUNTU}"
    assert config.load_text(text, FILE, os=os).image.timezone == name


@pytest.mark.parametrize("os", OS_NAMES)
@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("US/Eastern", "America/New_York"),
        ("Asia/Calcutta", "Asia/Kolkata"),
        ("PRC", "Asia/Shanghai"),
        ("posix/Europe/Berlin", "Europe/Berlin"),
        ("right/UTC", "UTC"),
        ("europe/berlin", "Europe/Berlin"),
        ("localtime", "Europe/Berlin"),
        ("Factory", "Europe/Berlin"),
        ("", "Europe/Berlin"),
        ("tzdata.zi", "Europe/Berlin"),
        ("../../etc/passwd", "Europe/Berlin"),
        ("Europe", "Europe/"),
        ("CEST", ""),
        ("UTC+1", ""),
        ("Europe/Berlin\\n", "Europe/Berlin"),
    ],
)
def test_time_zones_that_only_this_machine_may_know(os: str, name: str, like: str) -> None:
    told = refusal(f'[image]\ntimezone = "{name}"', os)
    assert told.startswith("image.timezone = ")
    assert f"{os} has no such time zone" in told
    assert like in told


def test_a_time_zone_is_judged_by_the_image_that_is_built() -> None:
    text = f"[image]\ntimezone = 'EST5EDT'\n{UBUNTU}"
    assert config.load_text(text, FILE, os="ubuntu-24.04").image.timezone == "EST5EDT"
    with pytest.raises(SpecError, match="debian-13 has no such time zone"):
        config.load_text(text, FILE, os="debian-13")


@pytest.mark.parametrize("os", OS_NAMES)
@pytest.mark.parametrize("name", ["C.UTF-8", "de_DE.UTF-8", "hi_IN.UTF-8", "ber_DZ.UTF-8"])
def test_locales_of_the_image(os: str, name: str) -> None:
    assert config.load_text(f"[image]\nlocale = '{name}'\n{UBUNTU}", FILE, os=os)


@pytest.mark.parametrize("os", OS_NAMES)
@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("xx_XX.UTF-8", "en_US.UTF-8"),
        ("de_DE", "de_DE.UTF-8"),
        ("de_DE.utf8", "de_DE.UTF-8"),
        ("de-DE.UTF-8", "de_DE.UTF-8"),
        ("de_DE.ISO-8859-1", "de_DE.UTF-8"),
        ("de_de.UTF-8", "de_DE.UTF-8"),
        ("ca_ES.UTF-8@valencia", "ca_ES.UTF-8"),
        ("POSIX", "en_US.UTF-8"),
        ("C", "C.UTF-8"),
        ("en_DE.UTF-8", "UTF-8"),
        ("", "en_US.UTF-8"),
        ("german", "en_US.UTF-8"),
    ],
)
def test_locales_that_the_image_cannot_generate(os: str, name: str, like: str) -> None:
    told = refusal(f"[image]\nlocale = '{name}'", os)
    assert told.startswith(f"image.locale = '{name}': {os} has no such locale")
    assert like in told


@pytest.mark.parametrize("os", OS_NAMES)
@pytest.mark.parametrize(
    "name",
    [
        "root",
        "dhcpcd",
        "_ssh",
        "nvidia-persistenced",
        "nvpd",
        "messagebus",
        "systemd-resolve",
        "systemd-anything",
        "docker",
        "sudo",
        "adm",
        "admin",
        "cube-build",
        "sshd",
        "polkitd",
        "uuidd",
        "staff",
        "kvm",
        "render",
        "nogroup",
    ],
)
def test_accounts_and_groups_of_the_image_are_nobodys(os: str, name: str) -> None:
    told = refusal(f"[admin]\nuser = '{name}'", os)
    assert told.startswith(f"admin.user = '{name}': {name} is taken by the system: choose another")


@pytest.mark.parametrize("name", ["landscape", "lxd", "tcpdump", "fwupd-refresh", "pollinate"])
def test_an_account_is_judged_by_the_image_that_is_built(name: str) -> None:
    text = f"[admin]\nuser = '{name}'\n{UBUNTU}"
    assert config.load_text(text, FILE, os="debian-13").admin.user == name
    with pytest.raises(SpecError, match="taken by the system"):
        config.load_text(text, FILE, os="ubuntu-24.04")


@pytest.mark.parametrize(
    "name",
    ["", "Me", "me too", "1me", "-me", "mé", "me\\n", "a" * 33, "me$", "me.too", "мe", "me:x"],
)
def test_account_names_that_useradd_would_refuse(name: str) -> None:
    assert "write small letters" in refusal(f'[admin]\nuser = "{name}"')


@pytest.mark.parametrize("os", OS_NAMES)
@pytest.mark.parametrize("kind", ["timezones", "locales", "accounts"])
def test_a_list_names_the_packages_that_it_comes_from(os: str, kind: known.Kind) -> None:
    lines = (known.FOLDER / os / f"{kind}.txt").read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    names = lines[len(head) :]
    assert any(char.isdigit() for char in "".join(head))
    assert names == sorted(set(names))
    assert len(names) > 50


SCRIPTS = ["\u0661", "\u0967", "\uff11", "\U0001d7cf", "\u00b9", "\u2460"]


@pytest.mark.parametrize("one", SCRIPTS)
@pytest.mark.parametrize(
    "text",
    [
        "[image]\nversion = '{}.0.0'",
        "[image]\nversion = '0.0.{}'",
        "[image]\ndisk_size = '{} TiB'",
        "[image]\nswap = '{} GiB'",
        "[build]\nmemory = '{} GiB'",
        "[build]\nrefresh = '{} day'",
        "[build]\nrefresh = '202{}-11-23'",
        "[image]\nname = 'a{}'",
        "[image]\nhostname = 'a{}'",
        "[admin]\nuser = 'a{}'",
        "[network]\nproxy = 'http://a:{}'",
        "[stack]\nnvidia_fingerprint = '{}'",
        "[hosts.a]\naddress = '{}.2.3.4'",
        "[hosts.a]\naddress = 'a'\nuser = 'a{}'",
        "[gpu]\nmodel = 'a{}'",
    ],
)
def test_digits_of_other_scripts_are_none(text: str, one: str) -> None:
    assert refusal(text.format(one))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[image]\nname = [1]", 'image.name = [1]: write text in quotes, like "vault-cube"'),
        ("[image]\nname = 2026-11-23", "image.name = 2026-11-23: write text in quotes"),
        ("[stack]\njupyter = 'yes'", "stack.jupyter = 'yes': write true or false"),
        ("[layers]\nenabled = '1'", "layers.enabled = '1': write a list, like [1, 2, 3, 4, 5]"),
        ("[layers]\nenabled = [true]", "layers.enabled[0] = true: write a whole number, like 1"),
        ("[layers]\nlayer1 = 'common'", 'write a list, like ["common", "users"'),
        ("[network]\nntp_servers = 'a'", 'write a list, like ["192.0.2.1"]'),
        ("[admin]\nssh_keys = 'a'", 'write a list, like ["~/.ssh/id_ed25519.pub"]'),
        ("[build]\ndir = 3", 'build.dir = 3: write a path in quotes, like "build"'),
        ("[build]\ndir = ''", "build.dir = '': it is empty: write a path, like \"build\""),
        (
            "[build]\ndir = '~no-such-one/x'",
            "this account has no home folder: write the whole path",
        ),
        ("[build]\ndir = 'a\\u0000'", "a path has no control characters"),
        ("[hosts.a]\naddress = 'a'\nkey = 3", 'write a path in quotes, like "~/.ssh/id_ed25519"'),
        ("[hosts.a]\naddress = 'a'\nport = '22'", "write a whole number from 1 to 65535, like 22"),
        ("[hosts.a]\nport = 22", 'missing: it has no default, write it, like "192.0.2.10"'),
        ("[hosts.'a b']\naddress = 'a'", 'hosts."a b": write small letters, digits'),
        ("[gpu]\nmemory_mib = 1", "write a whole number from 1024 to 1048576, like 32000"),
        ("[image]\nlayout = 3", "image.layout = 3: choose 'lvm' or 'plain'"),
        ("[network]\npassword = 'secret'", "network.password: unknown key: remove it"),
        ("[build]\nkeep_chains = 1001", "write a whole number from 1 to 1000, like 3"),
    ],
)
def test_words_are_those_of_toml(text: str, expected: str) -> None:
    told = refusal(text.replace("'a\\u0000'", '"a\\u0000"'))
    assert expected in told
    assert "secret" not in told


def test_a_loop_and_a_long_path_are_told_with_file_and_key(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for key, path, expected in (
        ("[build]\ndir", "loop/x", "a link in it leads back to itself"),
        ("[build]\ndir", "x" * 300, "the path is too long"),
        ("[hosts.a]\naddress = 'a'\nkey", "loop", "a link in it leads back to itself"),
        ("[hosts.a]\naddress = 'a'\nkey", "y" * 300, "the path is too long"),
    ):
        with pytest.raises(SpecError) as caught:
            config.load_text(f"{key} = '{path}'", tmp_path / "cube.toml")
        assert expected in caught.value.message
        assert key.rsplit("\n", 1)[1] in caught.value.message


@pytest.mark.parametrize("text", ["0.1.0", "1.2.3-rc.1", "1.2.3+build.7", "1.2.3-a+b", "10.0.99"])
def test_versions(text: str) -> None:
    assert config.load_text(f"[image]\nversion = '{text}'", FILE).image.version == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-",
            "1.2.3-a..b",
            "1.2.3+",
            "1.2.3-.",
            "v1.2.3",
        ),
        *("1.2.3 ", "1.2.3-é", "1.2.3/x", "9999999999.0.0", "1.2.3-" + "a" * 300, "latest"),
    ],
)
def test_what_is_no_version(text: str) -> None:
    assert "write three numbers with dots" in refusal(f"[image]\nversion = '{text}'")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "16",
            "16 GB",
            "16  GiB",
            "16.5 GiB",
            "-1 GiB",
            "+1 GiB",
            "0x10 GiB",
            "1e3 GiB",
            "GiB",
        ),
        *("1_6 GiB", "16 gib", "16 GiB ", " 16 GiB", "16\tGiB", "1" * 13 + " MiB", "sixteen GiB"),
    ],
)
@pytest.mark.parametrize("key", ["image]\ndisk_size", "image]\nswap", "build]\nmemory"])
def test_what_is_no_size(key: str, text: str) -> None:
    assert "write a size as a number and MiB, GiB or TiB" in refusal(f"[{key} = '{text}'")


@pytest.mark.parametrize(
    "char", [",", ":", "\\", '"', "*", "?", "[", "]", "{{", "${", "%{", "\n", "\x07"]
)
def test_a_build_folder_that_no_tool_could_name_is_refused(char: str) -> None:
    text = f"/a{char}b".replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    told = refusal(f'[build]\ndir = "{text}"'.replace("\x07", "\\u0007"))
    assert told.startswith("build.dir = ")
    assert 'like "build"' in told or "write it without" in told


@pytest.mark.parametrize("name", ["a b", "100%", "%d", "it's", "é", "#1", "a;b", "a&b", "a|b"])
def test_a_build_folder_may_have_other_characters(name: str) -> None:
    loaded = config.load_text(f'[build]\ndir = "/tmp/{name}"', FILE)
    assert loaded.build.dir == Path("/tmp") / name
