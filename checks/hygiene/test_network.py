"""The image does not know the network that it was built in."""

import re

from checks.hygiene.tree import Tree
from cube.config import Spec
from cube.config.mirrors import archives, remains

#: An assignment of a proxy in the forms that apt, shells, systemd, pip and Docker read.
PROXY = re.compile(r"(?i)(acquire::(https?|ftp)::proxy|\b(https?|ftp|all)[_-]?proxy\b).*://")
#: The body of a certificate. Source: RFC 7468.
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
#: Where a name of the build would be read; larger files are no text of anybody's.
PLACES = ("etc", "root", "home", "opt", "usr/local", "var/cache")
#: What packages and containers bring says nothing of the build.
OF_OTHERS = {f"var/lib/{name}" for name in ("containerd", "docker", "dpkg")}
MIB = 1 << 20
#: What the pipeline calls the certificates that it lends to a machine while building.
LENT = "cube-build-*"


def test_no_proxy_is_configured(image: Tree) -> None:
    files = image.files(
        "etc/environment",
        "etc/environment.d/*",
        "etc/apt/apt.conf",
        "etc/apt/apt.conf.d/*",
        "etc/profile",
        "etc/profile.d/*",
        "etc/systemd/**",
        "etc/docker/*",
        "etc/pip.conf",
        "etc/default/*",
        "etc/wgetrc",
        "etc/gitconfig",
        "etc/uv/*",
        "etc/sudoers.d/*",
        "root/.docker/*",
        "root/.config/**",
        "root/.profile",
        "root/.bashrc",
    )
    found = [name for name in files if any(PROXY.search(line) for line in image.lines(name))]
    assert found == []


def test_no_file_names_a_resolver_of_the_build(image: Tree) -> None:
    files = image.files("etc/resolv.conf.*", "etc/resolvconf/**", "etc/.resolv*")
    named = [name for name in files for line in image.lines(name) if line.startswith("nameserver")]
    assert named == []


def test_no_package_cache_of_the_build_is_configured(image: Tree) -> None:
    files = image.files("etc/apt/apt.conf", "etc/apt/apt.conf.d/*")
    found = [name for name in files if "proxy-auto-detect" in image.text(name).lower()]
    assert found + image.find("etc/apt/**/*cube-build-cache*") == []


def test_packages_come_from_the_distribution(image: Tree, spec: Spec) -> None:
    sources = image.files("etc/apt/sources.list", "etc/apt/sources.list.d/*")
    lines = [line for name in sources for line in image.lines(name)]
    words = {word.rstrip("/") for line in lines for word in line.split()}
    assert [url for url in archives(spec.image.os) if url.rstrip("/") not in words] == []


def test_no_mirror_of_the_build_is_named(image: Tree, spec: Spec) -> None:
    patterns = [re.compile(one, re.IGNORECASE | re.MULTILINE) for one in remains(spec)]
    texts = files_that_say_something(image) if patterns else []
    assert [name for name in texts if any(one.search(image.text(name)) for one in patterns)] == []


def test_no_login_of_the_build_is_left_to_apt(image: Tree) -> None:
    assert image.files("etc/apt/auth.conf", "etc/apt/auth.conf.d/*") == []


def test_no_package_index_of_the_build_is_configured(image: Tree) -> None:
    files = image.files("etc/pip.conf", "etc/uv/uv.toml", "root/.config/**", "root/.pip/*")
    assert [name for name in files if "index" in image.text(name)] == []


def test_build_certificates_are_absent(image: Tree, spec: Spec) -> None:
    lent = image.find(
        f"usr/local/share/ca-certificates/**/{LENT}",
        f"etc/ssl/certs/{LENT}",
        f"etc/docker/certs.d/**/{LENT}",
    )
    assert spec.network.keep_ca_certificates or lent == []


def test_no_link_leads_to_a_build_certificate(image: Tree, spec: Spec) -> None:
    links = [name for name in image.find("etc/ssl/certs/*") if (image.root / name).is_symlink()]
    lent = [name for name in links if "cube-build-" in str((image.root / name).readlink())]
    assert spec.network.keep_ca_certificates or lent == []


def test_every_trusted_certificate_comes_from_a_file_of_the_image(image: Tree) -> None:
    files = image.files("usr/share/ca-certificates/**", "usr/local/share/ca-certificates/**")
    known = {body for name in files for body in certificates(image.text(name))}
    strangers = certificates(image.text("etc/ssl/certs/ca-certificates.crt")) - known
    assert len(strangers) == 0, "run update-ca-certificates --fresh before the seal"


def files_that_say_something(image: Tree) -> list[str]:
    """Name the small files in places where the build, or a person, writes."""
    folders = [*PLACES, *(name for name in image.find("var/lib/*") if name not in OF_OTHERS)]
    found = image.files(*(f"{folder}/**" for folder in folders))
    return [name for name in found if (image.root / name).stat().st_size < MIB]


def certificates(text: str) -> set[str]:
    """Return the bodies of the certificates in a PEM file, without white space."""
    return {"".join(body.split()) for body in CERTIFICATE.findall(text)}
