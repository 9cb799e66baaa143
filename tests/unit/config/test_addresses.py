"""Addresses and URLs: one strict form each, and a word about every other."""

import pytest

from cube.config import addresses


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("fe80::1%enp3s0.100", "fe80::1%enp3s0.100"),
        ("time.example.org", "time.example.org"),
        ("box_1.lan.", "box_1.lan."),
        ("3com.example", "3com.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_hosts(text: str, kept: str) -> None:
    assert addresses.check_host(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "a\n",
        "\ta",
        "-a",
        "a-",
        "a..b",
        ".a",
        "a.-b",
        "a" * 64,
        "a." * 127 + "aa",
        "999.999.999.999",
        "1.2.3",
        "123",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.256",
        "0x7f000001",
        "a.0x1",
        "\u0661.\u0662.\u0663.\u0664",
        "1.2.3.4/24",
        "1.2.3.4:22",
        "[::1]",
        "::g",
        "1::2::3",
        "fe80::1%",
        "fe80::1%eth 0",
        "fe80::1%a\nb",
        "fe80::1%a/b",
        "fe80::1%" + "e" * 16,
        "fe80::1%-x",
        "0.0.0.0",
        "::",
        "255.255.255.255",
        "224.0.0.1",
        "ff02::1",
        "host:22",
        "http://a/",
        "user@host",
        "bücher.example",
        "a,b",
        "a;b",
        "$(x)",
        "a\x00b",
        "a\u202eb",
        "*",
        "a#b",
    ],
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match=r"like|write"):
        addresses.check_host(text)


def test_a_name_in_another_script_is_told_in_ours() -> None:
    with pytest.raises(ValueError, match=r'this one is written "xn--bcher-kva\.example"'):
        addresses.check_host("bücher.example")


@pytest.mark.parametrize(
    "text",
    [
        "http://proxy:3128",
        "http://proxy:3128/",
        "https://[2001:db8::1]:8443",
        "http://[::1]",
        "http://me:p%40ss%2Fw%3A@proxy:3128",
        "http://token@proxy",
        "http://me:a:b@proxy",
        "http://me:!$&'()*+,;=._~-@proxy",
        "http://:pw@proxy",
        "http://192.0.2.1:1",
        "",
    ],
)
def test_proxies(text: str) -> None:
    assert addresses.check_proxy(text) == text


BAD_URLS = [
    "proxy:3128",
    "//proxy",
    "proxy",
    "ftp://a",
    "HTTP://a",
    "socks5://a:1",
    "http:/a",
    "http:a",
    "http//a",
    "http://",
    "http:///",
    "http://:80",
    "http://a:",
    "http://a:0",
    "http://a:65536",
    "http://a:\u0668\u0660",
    "http://a:8O",
    "http://a:-1",
    "http://a:1:2",
    "http://999.1.1.1",
    "http://a b",
    "http://a\n",
    "http://a\x00",
    "http://ä",
    "http://a/ä",
    "http://a/ b",
    'http://a/"',
    "http://a/<x>",
    "http://a/\\",
    "http://a/#x",
    "http://a#x",
    "http://a?x",
    "http://a/%",
    "http://a/%zz",
    "http://a/%0a",
    "http://u:p%00@a",
    "http://u:p%0A@a",
    "http://u:pa/ss@a:3128",
    "http://u:p@ss@a",
    "http://u:pa ss@a",
    "http://u:pä@a",
    "http://u:p%@a",
    "http://u:p#@a",
    "http://u:p?@a",
    "http://[::1",
    "http://::1/",
    "http://[1.2.3.4]",
    "http://[fe80::1%25eth0]/",
    "http://[::1]x",
    "http://a..b/",
    "http://-a",
    "http://u@",
    "http://@",
    " http://a",
    "http://a ",
    "http://[]",
]


@pytest.mark.parametrize("text", BAD_URLS)
@pytest.mark.parametrize(
    "check", [addresses.check_proxy, addresses.check_mirror, addresses.check_index]
)
def test_what_is_no_url(text: str, check: object) -> None:
    assert callable(check)
    with pytest.raises(ValueError, match="like"):
        check(text)


@pytest.mark.parametrize("text", ["http://proxy/path", "http://proxy:1/a/", "http://u:p@proxy/a"])
def test_a_proxy_has_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="a proxy has no path"):
        addresses.check_proxy(text)
    assert addresses.check_mirror(text) == text


@pytest.mark.parametrize(
    "text",
    ["https://a/b.iso?token=x%20&y=1", "http://a/~me/b.iso", "file:///isos/my%20ubuntu.iso"],
)
def test_downloads(text: str) -> None:
    assert addresses.check_download(text) == text


@pytest.mark.parametrize(
    "text", ["", "/my.iso", "file://host/x", "file:/x", "file:///a b", "file:///a%zz", "~/x.iso"]
)
def test_what_is_no_download(text: str) -> None:
    with pytest.raises(ValueError, match="like"):
        addresses.check_download(text)


@pytest.mark.parametrize(
    "text",
    [
        "qemu:///embed",
        "qemu:///system",
        "qemu:///session",
        "qemu:///embed?root=/srv/state",
        "qemu+ssh://root@far.example/system",
        "qemu+unix:///system?socket=/run/x",
    ],
)
def test_libvirt_uris(text: str) -> None:
    assert addresses.check_libvirt_uri(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "qemu",
        "qemu:",
        "qemu:///",
        "qemu:///x",
        "test:///default",
        "xen:///system",
        "qemu:///system ",
        "qemu:///system\n",
        "qemu:///embed?root=/a b",
        "QEMU:///system",
    ],
)
def test_what_is_no_libvirt_uri(text: str) -> None:
    with pytest.raises(ValueError, match="like"):
        addresses.check_libvirt_uri(text)


@pytest.mark.parametrize("text", ["a", "cube-1", "a" * 63, "0a"])
def test_host_names_of_the_image(text: str) -> None:
    assert addresses.check_hostname(text) == text


@pytest.mark.parametrize(
    "text", ["", "localhost", "a.b", "A", "-a", "a-", "a_b", "a" * 64, "ä", "a b", "a\n", "\u0967"]
)
def test_what_the_image_cannot_be_called(text: str) -> None:
    with pytest.raises(ValueError, match="like"):
        addresses.check_hostname(text)
