"""Pages of a package index: read in either form, and written with their files at this server."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urldefrag, urljoin

from cube.runtime import documents

#: Source: PyPA, "Simple repository API", JSON serialization and content types.
JSON = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
SHA256 = re.compile(r"[0-9a-f]{64}")
#: Names that are the same in a URL: nearly all; a page may have thousands.
PLAIN = re.compile(r"[A-Za-z0-9_.-]+").fullmatch
#: What a page says of a file's metadata: its name today, and the one before that.
#: Source: PEP 714.
METADATA_KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")

Page = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a file is, and which package's page says so.

    Args:
        url: of the file.
        package: its name as indexes have it.
        metadata_sha256: of its metadata; empty: the page does not say.
    """

    url: str
    package: str
    metadata_sha256: str = ""


def normalized(name: str) -> str:
    """Return a package's name as indexes have it. Source: PEP 503, "Normalized Names"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(body: bytes, kind: str, url: str, name: str) -> Page:
    """Return a page, the URLs of its files absolute.

    Args:
        body: what an index has answered.
        kind: its content type.
        url: its address.
        name: of the package.

    Raises:
        ValueError: it is no page of an index.
    """
    if kind.partition(";")[0].strip().lower().endswith("json"):
        page = documents.parse(body)
    else:
        page = read_html(body.decode("utf-8", errors="replace"), name)
    if not isinstance(page, dict) or not isinstance(page.get("files"), list):
        raise ValueError(f"{url} is not a page of a package index")
    base = urljoin(url, page.pop("base", ""))
    try:
        for file in page["files"]:
            file |= {"url": absolute(base, file["url"]), "filename": str(file["filename"])}
        digests(page)  # raises where an entry's hashes are damaged
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{url} is not a page of a package index") from error
    return page


def absolute(base: str, url: str) -> str:
    """Return a URL; most are absolute, and `urljoin` takes longer than all else of a page."""
    return url if url.startswith(("https://", "http://")) else urljoin(base, url)


def here(page: Page, package: str) -> tuple[Page, dict[str, Origin]]:
    """Return a page with its files at this server, and where each is by its sha256.

    A file without a sha256 stays where it is.

    Args:
        page: an index's, or one that was kept.
        package: its name as indexes have it.
    """
    files, origins = [], dict[str, Origin]()
    for file in page["files"]:
        if not (digest := sha256_of(file)):
            files.append(file)
            continue
        url = file["url"].partition("#")[0]
        origins[digest] = Origin(url=url, package=package, metadata_sha256=metadata_of(file))
        name = str(file["filename"])
        files.append({**file, "url": f"/files/{digest}/{name if PLAIN(name) else quote(name)}"})
    return {**page, "files": files}, origins


def digests(page: Page) -> set[str]:
    """Return the sha256 of each file that has one."""
    return {sha256_of(file) for file in page["files"]} - {""}


def only(page: Page, wanted: frozenset[str]) -> Page:
    """Return a page with those of its files that are wanted; with all, if it has none of them."""
    files = [file for file in page["files"] if sha256_of(file) in wanted]
    return {**page, "files": files} if files else page


def sha256_of(file: dict[str, Any]) -> str:
    """Return the sha256 of a file, if its page says."""
    digest = str((file.get("hashes") or {}).get("sha256", "")).lower()
    return digest if SHA256.fullmatch(digest) else ""


def metadata_of(file: dict[str, Any]) -> str:
    """Return the sha256 of a file's metadata, if its page says."""
    for key in METADATA_KEYS:
        digest = file[key].get("sha256", "") if isinstance(file.get(key), dict) else ""
        if SHA256.fullmatch(str(digest)):
            return str(digest)
    return ""


def read_html(text: str, name: str) -> Page:
    """Return what a page says that is HTML. Source: PEP 503, PEP 592, PEP 658."""
    parser = Anchors()
    parser.feed(text)
    parser.close()
    page = {"meta": {"api-version": "1.0"}, "name": name, "files": parser.files}
    return {**page, "base": parser.base}


class Anchors(HTMLParser):
    """Gathers the files of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[Page] = []
        self.base = ""
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a file, or note what its addresses are relative to."""
        given = dict(attrs)
        if tag == "base":
            self.base = given.get("href") or ""
        if tag == "a" and given.get("href"):
            self.files.append(file_of(given))
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        """End a file."""
        self._open = self._open and tag != "a"

    def handle_data(self, data: str) -> None:
        """Add to the name of a file."""
        if self._open:
            self.files[-1]["filename"] += data.strip()


def file_of(given: dict[str, str | None]) -> Page:
    """Return what an anchor says of a file, but its name."""
    url, fragment = urldefrag(given["href"] or "")
    kind, _, digest = fragment.partition("=")
    file: Page = {"filename": "", "url": url, "hashes": {kind: digest} if digest else {}}
    if requires := given.get("data-requires-python"):
        file["requires-python"] = requires
    if "data-yanked" in given:
        file["yanked"] = given["data-yanked"] or True
    for key in ("data-core-metadata", "data-dist-info-metadata"):
        if key in given:
            kind, _, digest = (given[key] or "").partition("=")
            file["core-metadata"] = {kind: digest} if digest else True
            break
    return file
