"""`cube chain` and its verbs."""

import argparse
import re
from pathlib import Path

from cube.build import pipeline
from cube.chain import why
from cube.chain.store import integrity, prune, table
from cube.chain.store.links import Store
from cube.chain.transfer import archive, export, import_links
from cube.cli.options import Commands, Run, add
from cube.cli.output import tell
from cube.config import Spec
from cube.config.values import parse_size_mib
from cube.config.workspace import Workspace
from cube.runtime import lock, log, units
from cube.runtime.errors import ChainError, HostError

MIB = 1024**2
#: Arguments that may stand before or after the verb.
SHARED = ("os", "spec", "view")
SHOW = "show the links, and what a build would do about each"


def add_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the group."""
    chain = add(commands, "chain", cmd_show, SHOW, image="--os")
    verbs = chain.add_subparsers(dest="verb", metavar="VERB", title="verbs (default: show)")
    add_verb(verbs, "show", cmd_show, SHOW)
    command = add_verb(verbs, "why", cmd_why, "say why a build would make a link anew, or not")
    command.add_argument("link", metavar="LINK", help="base, layer1 ... layer5")
    add_verb(verbs, "verify", cmd_verify, "read every byte of every link and compare")
    add_prune(verbs)
    add_export(verbs)
    command = add_verb(verbs, "import", cmd_import, "take over the links of an exported file")
    command.add_argument("file", type=Path, metavar="FILE")


def add_verb(
    verbs: "Commands[argparse.ArgumentParser]", name: str, run: Run, text: str
) -> argparse.ArgumentParser:
    """Add a verb; what was said before it stays, unless it is said again."""
    command = add(verbs, name, run, text, image="--os")
    for action in command._actions:  # argparse has no public way to leave a default out
        if action.dest in SHARED:
            action.default = argparse.SUPPRESS
    return command


def add_prune(verbs: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube chain prune`."""
    command = add_verb(verbs, "prune", cmd_prune, "remove links that are not needed any more")
    command.set_defaults(refuse=command.error)
    command.add_argument(
        "--keep", type=count, metavar="N", help="keep the N newest chains, and the head's"
    )
    command.add_argument(
        "--max-size",
        type=size_bytes,
        metavar="SIZE",
        help='remove the oldest links until the rest fits: "20 GiB"',
    )
    command.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def add_export(verbs: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube chain export`."""
    command = add_verb(verbs, "export", cmd_export, "write a link and all below it into one file")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("link", nargs="?", default="", metavar="LINK", help="default: the head")
    command.add_argument("--only", action="store_true", help="leave out what is below the link")


def count(word: str) -> int:
    """Accept a number of chains.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,6}", word):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of chains")
    return int(word)


def size_bytes(word: str) -> int:
    """Accept a size.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        return parse_size_mib(word) * MIB
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{word!r}: {error}") from error


def store_of(spec: Spec) -> Store:
    """Return the links of a specification's image."""
    return Store(folder=Workspace.of(spec).chain)


def cmd_show(args: argparse.Namespace, spec: Spec) -> int:
    """Show the links, then what cube.toml makes of them."""
    store = store_of(spec)
    rows = table.rows(store)
    total = sum(row.used_bytes for row in rows)
    head = next((f", head: {row.link.name} {row.link.short}" for row in rows if row.head), "")
    told = f"{spec.image.os}: {len(rows)} links, {units.size(total)} in {store.folder}{head}"
    cells = [list(table.HEADINGS), *(row.cells() for row in rows)]
    # Before anything of cube.toml is looked at: a role that cannot be read hides no link.
    if args.view != "json":
        tell(args.view, "", {}, "\n".join([told, "", *(table.aligned(cells) if rows else [])]))
    fates = why.fates(pipeline.planner(spec, store))
    cells = [["WANTED", "NEXT BUILD"], *([fate.name, fate.verdict] for fate in fates)]
    text = "\n".join(["", *table.aligned(cells)])
    data: dict[str, object] = {
        "os": spec.image.os,
        "folder": str(store.folder),
        "used_bytes": total,
        "head": store.head.key if store.head else None,
        "links": [row.as_json() for row in rows],
        "wanted": [fate.as_json() for fate in fates],
    }
    tell(args.view, "chain", data, text)
    return 0


def cmd_why(args: argparse.Namespace, spec: Spec) -> int:
    """Say what makes a link's key different from that of the link that is there."""
    fates = why.fates(pipeline.planner(spec, store_of(spec)))
    lines = why.explain(fates, args.link)
    found = {fate.name: fate for fate in fates}
    data = found[args.link].as_json()
    if cause := found.get(found[args.link].below):
        data["cause"] = cause.as_json()
    tell(args.view, "why", data, "\n".join(lines))
    return 0


def cmd_verify(args: argparse.Namespace, spec: Spec) -> int:
    """Read all links, tell of each, and fail if one is damaged."""
    store = store_of(spec)
    if not store.folders():
        raise ChainError(f"there is no link in {store.folder}", hint="cube build")
    with store.reading(), log.step(f"Reading the links in {store.folder}"):
        found = examine(store)
    width = max(map(len, found))
    lines = [f"{name.ljust(width)}  {why or 'whole'}" for name, why in found.items()]
    broken = {name: why for name, why in found.items() if why}
    tell(args.view, "verify", {"links": found, "damaged": sorted(broken)}, "\n".join(lines))
    if broken:
        raise ChainError(
            f"{len(broken)} of {len(found)} are damaged: {', '.join(broken)}",
            hint="cube build makes again what it needs of them; what cube.toml does not want any"
            f" more: rm -r {store.folder}/NAME",
        )
    return 0


def examine(store: Store) -> dict[str, str]:
    """Return what is wrong with each link, by the name of its folder; empty where all is well."""
    links = store.links()
    found = {folder.name: "damaged: its record cannot be read" for folder in store.folders()}
    found |= {link.folder.name: "" for link in links}
    for damage in integrity.damaged(links, links):
        found[damage.link.folder.name] = f"damaged: {damage.reason}"
    if (store.folder / "head").exists() and not store.head:
        found["head"] = "damaged: the link that it names is not there"
    return found


def cmd_prune(args: argparse.Namespace, spec: Spec) -> int:
    """Remove links, or say which would be removed."""
    if args.keep is None and args.max_size is None:
        args.refuse("say what may stay: --keep N, --max-size SIZE, or both")
    work, store = Workspace.of(spec), store_of(spec)
    rule = prune.Rule(keep=args.keep, max_bytes=args.max_size)
    if args.dry_run:
        found = prune.choose(store, work.machines, rule)
    else:
        with lock.held(work.root / "lock"):
            found = prune.prune(store, work.machines, rule)
    word = "would be removed" if args.dry_run else "removed"
    lines = [f"{link.name} {link.short}, made {table.made(link)}: {word}" for link in found.links]
    freed, left = units.size(found.freed_bytes), units.size(found.left_bytes)
    lines.append(f"{len(found.links)} links {word}, {freed} freed, {left} left")
    tell(args.view, "prune", {**found.as_json(), "dry_run": args.dry_run}, "\n".join(lines))
    prune.require(found, rule)
    return 0


def cmd_export(args: argparse.Namespace, spec: Spec) -> int:
    """Write a chain into a file."""
    store = store_of(spec)
    if not args.file.absolute().parent.is_dir() or args.file.is_dir():
        raise HostError(f"{args.file}: no file can have this name", hint="name a file in a folder")
    with store.reading(), log.step(f"Exporting to {args.file}"):
        if not args.link:
            store.require_head()
        link = store.named(args.link)
        links = archive.wanted_links(store, link, only=args.only)
        index = archive.describe(store, links, os_name=spec.image.os, head=link)
        size = export.export(args.file, links, index)
    names = ", ".join(f"{one.name} {one.short}" for one in links)
    data = {"file": str(args.file.absolute()), "size_bytes": size, "links": index.members()}
    text = f"{args.file}: {units.size(size)}, holds {names}\ntake it over: cube chain import FILE"
    tell(args.view, "export", data, text)
    return 0


def cmd_import(args: argparse.Namespace, spec: Spec) -> int:
    """Take a chain from a file."""
    work = Workspace.of(spec)
    with lock.held(work.root / "lock"), log.step(f"Importing {args.file}"):
        found = import_links.take_in(store_of(spec), args.file, os_name=spec.image.os)
    lines = [f"{link.name} {link.short}: imported" for link in found.links]
    lines += [f"{link.name} {link.short}: kept, it was here" for link in found.kept]
    head = f"{found.head.name} {found.head.short}"
    if found.is_head:
        lines.append(f"{head} is the head; boot it: cube up")
    else:
        lines.append(f"the head stays; to make {head} the head: cube rollback {found.head.short}")
    tell(args.view, "import", found.as_json(), "\n".join(lines))
    return 0
