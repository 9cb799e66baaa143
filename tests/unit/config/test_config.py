"""cube.toml: what is accepted, and how each mistake is told."""

from pathlib import Path

import pytest

from cube import config
from cube.config.live_host import box_data
from cube.config.model import HARMS
from cube.config.values import parse_size_mib
from cube.runtime.errors import SpecError

ROOT = Path(__file__).parents[3]
PUBLIC_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8Nk5sZ4a3c9kGz7jQp9pM4cVv7o7w1yq0lU3mXnT2e me@desk"
)


def lines_of(text: str, folder: Path = ROOT) -> list[str]:
    with pytest.raises(SpecError) as caught:
        config.load_text(text, folder / "cube.toml")
    error = caught.value
    return error.details.splitlines() or [error.message]


def test_the_shipped_file_is_valid() -> None:
    loaded = config.load(ROOT / "cube.toml")
    assert loaded.image.os == "debian-13"
    assert loaded.build.dir == ROOT / "build"


def test_the_shipped_file_states_the_defaults() -> None:
    shipped = config.load(ROOT / "cube.toml").model_dump(exclude={"os"})
    bare = config.load_text("", ROOT / "cube.toml").model_dump(exclude={"os"})
    assert shipped == bare


def test_the_default_build_folder_is_beside_the_file(tmp_path: Path) -> None:
    for text in ("", "[build]\ncpus = 1\n"):
        assert config.load_text(text, tmp_path / "cube.toml").build.dir == tmp_path / "build"


def test_the_command_line_overrides_the_os() -> None:
    assert config.load(ROOT / "cube.toml", os="ubuntu-24.04").image.os == "ubuntu-24.04"


@pytest.mark.parametrize(
    ("text", "size_mib"), [("6 GiB", 6144), ("512 MiB", 512), ("2TiB", 2 * 1024 * 1024)]
)
def test_sizes(text: str, size_mib: int) -> None:
    assert parse_size_mib(text) == size_mib


@pytest.mark.parametrize("text", ["6 GB", "6", "-1 GiB", "1.5 GiB", "GiB", "", 6, None, True])
def test_bad_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="write a size"):
        parse_size_mib(text)


UBUNTU = f"[os.'ubuntu-24.04']\niso_url = 'http://x/y'\niso_sha256 = '{'0' * 64}'"
BAD = [
    ("unknown profile", "[stack]\nprofile = 'cubo'", "choose one of cube, specification, or"),
    ("no such profile", "[stack]\nprofile = './mine'", "a folder that holds profile.toml"),
    ("fingerprint", "[stack]\nnvidia_fingerprint = 'AB'", "40 hexadecimal digits"),
    ("frameworks", "[stack]\nframeworks = []", "it is empty: name one"),
    ("framework twice", "[stack]\nframeworks = ['vllm', 'vllm']", "vllm is listed twice"),
    ("image by tag", "[stack]\nimages = ['a/b:1']", "name an image by its digest"),
    ("image archive", "[stack]\nimages = ['none.tar']", "none.tar: create it with docker save"),
    ("unknown table", "[bogus]\na = 1", "bogus: unknown key"),
    ("unknown key", "[image]\nnam = 'x'", 'image.nam: unknown key: did you mean "name"?'),
    ("unknown key of an OS", '[os."debian-13"]\nkernal = "x"', 'did you mean "kernel"?'),
    ("unknown key of a host", "[hosts.d2]\naddress = 'a'\nadress = 'x'", 'did you mean "address"?'),
    ("unknown key of Ubuntu", f"{UBUNTU}\nautoinstall_schma = 'x'", '"autoinstall_schema"?'),
    ("not a table", "image = 3", "image = 3: write a table: [image]"),
    ("no table of hosts", "hosts = 3", "hosts = 3: write a table: [hosts]"),
    ("no table of an OS", "[os]\n'debian-13' = 3", 'write a table: [os.debian-13]'),
    ("wrong type", "[build]\ncpus = '2'", "build.cpus = '2': write a whole number from 1 to"),
    ("true is no number", "[build]\ncpus = true", "build.cpus = true: write a whole number"),
    ("too few", "[build]\ncpus = 0", "build.cpus = 0: write a whole number from 1 to 256, like 2"),
    ("bad size", "[image]\ndisk_size = '10 G'", 'like "16 GiB"'),
    ("disk too small", "[image]\ndisk_size = '1 GiB'", 'write a size from "6 GiB" to'),
    ("too much memory", "[build]\nmemory = '9999 TiB'", 'from "1 GiB" to "1 TiB"'),
    ("unknown OS", "[image]\nos = 'debian-12'", "choose 'debian-13' or 'ubuntu-24.04'"),
    ("bad host name", "[image]\nhostname = 'my cube'", "image.hostname"),
    ("bad version", "[image]\nversion = 'latest'", "image.version"),
    ("bad name", "[image]\nname = '../x'", "image.name"),
    ("bad time zone", "[image]\ntimezone = 'Mars'", "Europe/Berlin"),
    ("bad locale", "[image]\nlocale = 'english'", "image.locale"),
    ("taken user", "[admin]\nuser = 'root'", "taken by the system"),
    ("a service's user", "[admin]\nuser = 'www-data'", "taken by the system"),
    ("a group's name", "[admin]\nuser = 'plugdev'", "taken by the system"),
    ("bad user", "[admin]\nuser = 'Me Too'", "small letters"),
    ("missing key file", "[admin]\nssh_keys = ['/nowhere/id.pub']", "ssh-keygen -t ed25519"),
    ("not a key list", "[admin]\nssh_keys = 'x'", "admin.ssh_keys"),
    ("layer twice", "[layers]\nenabled = [1, 1]", "layer 1 is listed twice"),
    ("layer unknown", "[layers]\nenabled = [1, 7]", "there is no layer 7"),
    ("no layer", "[layers]\nenabled = []", "name at least layer 1"),
    ("no foundation", "[layers]\nenabled = [5]", "add 1"),
    ("no driver", "[layers]\nenabled = [1, 3]", "needs the driver of layer 2"),
    ("no role", "[layers]\nlayer1 = []", "layer1 is empty, but enabled"),
    ("role unknown", "[layers]\nlayer1 = ['comon']", "no role 'comon'"),
    ("role twice", "[layers]\nlayer1 = ['common', 'common']", "twice"),
    ("assume nothing", "[gpu]\nmode = 'assume'\n[layers]\nenabled = [1]", 'gpu.mode = "assume"'),
    ("missing CA file", "[network]\nca_certificates = ['/nowhere.crt']", "no file /nowhere.crt"),
    ("certificates", "[network]\nca_certificates = 'hosts'", 'write "host", "none" or a list'),
    ("no certificate", "[network]\nca_certificates = [3]", 'write "host", "none" or a list'),
    ("no home", "[build]\ndir = '~nouser/x'", "this account has no home folder"),
    ("no such day", "[build]\nrefresh = '2026-13-45'", "or a date to pin"),
    ("a second line", '[network]\nproxy = "http://a:1/\\nX: y"', "like \"http://proxy:3128\""),
    ("white space", "[network]\napt_mirror = 'http://a/ b'", 'no blanks, quotes, #'),
    ("quote", "[network]\npypi_index = 'http://a/\"'", 'no blanks, quotes, #'),
    ("no port", "[network]\nproxy = 'http://a:99999/'", "write a port from 1 to 65535"),
    ("no host", "[stack]\nnvidia_url = 'http://:80/'", "name a host after the //"),
    ("bad server", '[network]\nntp_servers = ["a b\\n[Evil]"]', "a host name or an address"),
    ("an option", "[hosts.a]\naddress = '-oProxyCommand=x'", "a host name or an address"),
    ("two words", "[hosts.a]\naddress = 'x y'", "a host name or an address"),
    ("empty address", "[hosts.a]\naddress = ''", "a host name or an address"),
    ("bad login", "[hosts.a]\naddress = 'x'\nuser = '-l'", "hosts.a.user = '-l'"),
    ("no file URL", "[network]\nproxy = 'file:///x'", "begin it with http:// or https://"),
    ("empty ISO", UBUNTU.replace("http://x/y", ""), '"file:///folder/file.iso"'),
    ("ISO by path", UBUNTU.replace("http://x/y", "/my.iso"), '"file:///folder/file.iso"'),
    ("ISO by space", UBUNTU.replace("http://x/y", "file:///my iso"), "write a blank as %20"),
    ("bad proxy", "[network]\nproxy = 'proxy:3128'", "begin it with http:// or https://"),
    ("bad port", "[hosts.a]\naddress = 'x'\nport = 70000", "hosts.a.port = 70000"),
    ("no address", "[hosts.a]\nport = 22", "hosts.a.address: missing"),
    ("no ISO", "[image]\nos = 'ubuntu-24.04'", 'needs the table [os."ubuntu-24.04"]'),
    ("no checksum", '[os."ubuntu-24.04"]\niso_url = "http://x/y"', "iso_sha256: missing"),
    ("not TOML", "[image\n", "not valid TOML"),
    ("key given twice", "[image]\nname='a'\nname='b'", "not valid TOML"),
    ("no such harm", "[apply]\nallow = ['remove-package']",
     "choose 'remove-packages', 'stop-containers', 'stop-jobs'"),
    ("internal key", "file = 'x'", "file: unknown key"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in BAD], ids=[r[0] for r in BAD])
def test_each_mistake_is_one_clear_line(text: str, expected: str) -> None:
    lines = lines_of(text)
    assert expected in lines[0]
    assert len(lines) == 1
    assert all(line.startswith(f"{ROOT / 'cube.toml'}: ") for line in lines)


def test_several_mistakes_are_told_together() -> None:
    lines = lines_of("[image]\nos = 'x'\ndisk_size = '1'\n[build]\ncpus = 'x'\n[bogus]\n")
    assert len(lines) == 4


def test_mistakes_in_one_table_are_told_together() -> None:
    first, second = lines_of("[layers]\nenabled = [1, 5, 1, 7]\nlayer1 = ['x', 'y']")
    assert "layers.enabled = [1, 5, 1, 7]: layer 1 is listed twice" in first
    assert "there is no layer 7" in first
    assert "no role 'x'" in second
    assert "no role 'y'" in second


GOOD = [
    "[hosts.a]\naddress = '192.0.2.1'\nuser = 'root'",
    "[hosts.a]\naddress = 'fe80::1%eth0'\nuser = 'Anna.B'",
    "[hosts.a]\naddress = 'box_1.lan.'",
    "[network]\nntp_servers = ['2001:db8::1', 'time.example.org']",
    "[network]\nproxy = 'http://me:p%40ss@proxy:3128'",
    "[network]\napt_mirror = 'https://[2001:db8::1]:8443/debian'",
    f"[network]\nca_certificates = ['{ROOT}/tests/golden/example-ca.crt']",
    "[build]\nrefresh = '2026-11-23'",
    UBUNTU.replace("http://x/y", "file:///isos/my%20ubuntu.iso"),
    "[layers]\nenabled = [1]\nlayer5 = []",
    "[apply]\nallow = ['remove-packages', 'stop-containers']",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_right_is_accepted(tmp_path: Path, text: str) -> None:
    assert config.load_text(text, tmp_path / "cube.toml")


def test_a_key_is_taken_from_text_or_file(tmp_path: Path) -> None:
    (tmp_path / "id.pub").write_text(PUBLIC_KEY + "\n")
    text = f"[admin]\nssh_keys = ['id.pub', '{PUBLIC_KEY}']"
    loaded = config.load_text(text, tmp_path / "cube.toml")
    assert loaded.admin.ssh_keys == (PUBLIC_KEY, PUBLIC_KEY)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "is a private key: name the public half"),
        ("hello\n", "no OpenSSH public key: name a file like"),
        (f"{PUBLIC_KEY}\n{PUBLIC_KEY}\n", "holds 2 lines: give each key an entry of its own"),
    ],
)
def test_a_bad_key_file_is_named(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "id.pub").write_text(content)
    lines = lines_of("[admin]\nssh_keys = ['id.pub']", tmp_path)
    assert expected in lines[0]
    assert "id.pub" in lines[0]


def test_an_unreadable_specification_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"absent\.toml: cannot be read: No such file"):
        config.load(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="not UTF-8"):
        config.load(tmp_path / "binary.toml")


def test_a_host_may_come_to_harm_only_where_that_is_allowed(tmp_path: Path) -> None:
    loaded = config.load_text("[apply]\nallow = ['stop-containers']", tmp_path / "cube.toml")
    assert box_data(loaded)["allow"] == ["stop-containers"]
    assert config.build_data(loaded)["allow"] == list(HARMS)


def test_host_data_is_plain_data() -> None:
    data = config.host_data(config.load(ROOT / "cube.toml"))
    assert data["layer1_roles"] == ["common", "users", "security", "docker", "python"]
    assert {type(value) for value in data.values()} <= {str, int, bool, list}
