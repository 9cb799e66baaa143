"""Making another link the head."""

from dataclasses import dataclass

from cube.chain.store.link import Link
from cube.chain.store.links import Store
from cube.chain.store.table import in_use
from cube.runtime.errors import ChainError


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """What became of the links.

    Args:
        head: the link that is the head now.
        aside: taken out of use: links above it on the chain of the head before.
        back: put to use again: links that the head needs.
    """

    head: Link
    aside: tuple[Link, ...] = ()
    back: tuple[Link, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "head": {"name": self.head.name, "key": self.head.key},
            "set_aside": [link.key for link in self.aside],
            "taken_back": [link.key for link in self.back],
        }


def rollback(store: Store, name: str) -> Rollback:
    """Make a link the head; the caller holds the build lock.

    What stood on it in the head's chain is set aside, so that a build makes it anew; what was
    set aside and is needed is taken back.

    Args:
        store: the links.
        name: ``base``, ``layer1`` ..., or the beginning of a key.

    Raises:
        ChainError: there is no such link, it has no disk, or one below it is missing.
    """
    store.prepare()
    links, before = store.links(), in_use(store)
    head = target(store, name)
    line = store.lineage(head)
    above = before[before.index(head) + 1 :] if head in before else []
    aside = [*above, *skipped_on([head, *above], links)] if above else []
    back = [link for link in [*line, *skipped_on(line[:-1], links)] if link.aside]
    # In this order a rollback that is cut off can be repeated: the head tells what is above.
    store.set_aside(aside)
    store.take_back(back)
    store.set_head(head)
    return Rollback(head=head, aside=tuple(aside), back=tuple(back))


def target(store: Store, name: str) -> Link:
    """Return the link that a person means: what a rollback set aside outranks other chains.

    Raises:
        ChainError: there is none, or it was skipped.
    """
    head = store.head
    if head:
        for link in reversed(store.descendants(head)):
            if link.name == name and link.aside and not link.skipped:
                return link
    try:
        return store.named(name)
    except ChainError as error:
        for link in reversed(store.links()):
            if link.skipped and link.name == name:
                raise ChainError(
                    f"{name} has no disk: it was skipped, {link.skipped}", hint=error.hint
                ) from error
        raise


def skipped_on(line: list[Link], links: list[Link]) -> list[Link]:
    """Return the skipped layers on some links."""
    keys = {link.key for link in line}
    return [link for link in links if link.skipped and link.parent in keys]
