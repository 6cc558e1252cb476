"""Rules between keys: uniqueness, what a programme needs, what becomes of a message when it is filled in.

They read the file as it was written, without what is already known to be wrong, so that a mistake in one
place does not hide another. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

from tilltap import templates
from tilltap.config.mistakes import Mistake, shown
from tilltap.config.model import DEFAULT_DRIVER, WITHOUT_KEYS, Ledger, MessageTexts
from tilltap.config.positions import KeyPath
from tilltap.config.types import is_shared
from tilltap.rules.messages import TRAINING
from tilltap_drivers.vtap.config_txt import frame_spec
from tilltap_drivers.vtap.settings import DEFAULT_POSTFIX, DEFAULT_PREFIX

# A push has 5 to 350 characters (contract section 2; the service's limits, passentry.md A2).
PUSH_CHARACTERS = (5, 350)
PUSHES = ("earned", "reached", "redeemed")
# The longest numbers a message is expected to hold: a wedding's worth of points, a regular's balance.
LONGEST_EARNED = "999999"
LONGEST_BALANCE = "9999999"

# Keys that only some ways of sending Apple's polling frame know.
_ECP_KEYS = {
    "ecp_commands": ("commands",),
    "ecp_flags": ("transparent",),
    "ecp_code": ("transparent", "acr122u", "flomio", "commands"),
}

T = TypeVar("T")


class Document:
    """A parsed file without the values at `wrong`."""

    def __init__(self, raw: dict[str, Any], wrong: Collection[KeyPath]) -> None:
        self._raw, self._wrong = raw, frozenset(wrong)

    def get(self, path: KeyPath, default: T) -> T:
        """The value at `path`, or `default` where it is absent, wrong or not of the default's type."""
        value: Any = self._raw
        for depth, part in enumerate(path, 1):
            if path[:depth] in self._wrong:
                return default
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):  # absent, or not the table or array it should be
                return default
        return value if type(value) is type(default) else default

    def has(self, path: KeyPath) -> bool:
        parent: dict[str, Any] = self.get(path[:-1], {})
        return path[-1] in parent

    def is_wrong(self, path: KeyPath) -> bool:
        return path in self._wrong

    def anything_wrong_in(self, table: KeyPath) -> bool:
        return any(path[: len(table)] == table for path in self._wrong)

    def places(self, path: KeyPath) -> range:
        empty: list[Any] = []
        return range(len(self.get(path, empty)))


def cross_mistakes(document: Document) -> Iterator[Mistake]:
    yield from _earning(document)
    yield from _unique(document, ("program", "reward"), "id")
    yield from _unique(document, ("reader",), "name")
    yield from _unique(document, ("reader",), "port")
    yield from _service(document)
    yield from _templates(document)
    yield from _pushes(document)
    yield from _frames(document)
    yield from _shared_ledger(document)
    yield from _wallet(document)
    yield from _ecp(document)


def _earning(document: Document) -> Iterator[Mistake]:
    earn: KeyPath = ("program", "earn")
    if not document.has(earn) or document.has((*earn, "spend")) or document.anything_wrong_in(earn):
        return
    if document.get((*earn, "visit"), 0) == 0:
        hint = 'give spend = "10.00" for points by amount, visit = 1 for points by sale, or both'
        yield Mistake(earn, "nothing would ever be earned", hint)


def _service(document: Document) -> Iterator[Mistake]:
    path: KeyPath = ("loyalty", "url")
    if document.get(path, "").rstrip("/").endswith("/api/v1"):
        yield Mistake(path, "ends in /api/v1", "leave that out, tilltap adds it")


def _unique(document: Document, tables: KeyPath, key: str) -> Iterator[Mistake]:
    seen: dict[str, int] = {}
    for place in document.places(tables):
        path = (*tables, place, key)
        name = document.get(path, "")
        if name in seen:
            yield Mistake(
                path, f"{shown(name)} is already taken", f"number {seen[name]} has it; choose another"
            )
        elif name:
            seen[name] = place + 1


def _templates(document: Document) -> Iterator[Mistake]:
    paths: list[KeyPath] = [("program", "messages", name) for name in MessageTexts.model_fields]
    paths += [("program", "pass", name) for name in ("reward_text", "no_reward_text")]
    for path in paths:
        for problem in templates.problems(document.get(path, "")):
            what, _, hint = problem.partition(" (")
            yield Mistake(path, what, hint.removesuffix(")"))


def _pushes(document: Document) -> Iterator[Mistake]:
    least, most = PUSH_CHARACTERS
    for name in PUSHES:
        path: KeyPath = ("program", "messages", name)
        template = document.get(path, str(MessageTexts.model_fields[name].default))
        if not template or any(templates.problems(template)):
            continue
        shortest, longest = _lengths(template, _fillings(document, name), training=_is_training(document))
        hint = f'a push has {least} to {most}; "" sends nothing'
        if shortest < least:
            yield Mistake(path, f"can be as short as {_characters(shortest)} once filled in", hint)
        if longest > most:
            yield Mistake(path, f"can be as long as {_characters(longest)} once filled in", hint)


def _characters(n: int) -> str:
    return f"{n} character{'' if n == 1 else 's'}"


def _lengths(template: str, fillings: Mapping[str, list[str]], *, training: bool) -> tuple[int, int]:
    prefix = TRAINING if training else ""
    shortest = {name: min(texts, key=len) for name, texts in fillings.items()}
    longest = {name: max(texts, key=len) for name, texts in fillings.items()}
    short, long = (prefix + templates.render(template, values) for values in (shortest, longest))
    return len(short.strip()), len(long)


def _fillings(document: Document, message: str) -> dict[str, list[str]]:
    """What each placeholder may become in this programme."""
    places = document.places(("program", "reward"))
    titles = [document.get(("program", "reward", place, "title"), "") for place in places]
    titles = [title for title in titles if title] or ["a reward"]
    program: KeyPath = ("program",)
    words = [document.get((*program, "point"), "point"), document.get((*program, "points"), "points")]
    return {
        "earned": ["1", LONGEST_EARNED],
        "points": words,
        templates.POINTS_OF_BALANCE: words,
        # Points are also earned by a sale that brings no reward into reach.
        "reward": [*titles, ""] if message == "earned" else titles,
        "balance": ["0", LONGEST_BALANCE],
        "store": [document.get(("till", "store"), "")],
    }


def _is_training(document: Document) -> bool:
    return document.get(("loyalty", "provider"), "") == "sandbox"


def _frames(document: Document) -> Iterator[Mistake]:
    for place in document.places(("reader",)):
        reader: KeyPath = ("reader", place)
        if document.get((*reader, "driver"), DEFAULT_DRIVER) != "vtap":
            continue
        if document.is_wrong((*reader, "prefix")) or document.is_wrong((*reader, "postfix")):
            continue
        prefix = document.get((*reader, "prefix"), DEFAULT_PREFIX)
        postfix = document.get((*reader, "postfix"), DEFAULT_POSTFIX)
        try:
            frame_spec(prefix, postfix)
        except ValueError as error:
            yield _frame_mistake(document, reader, str(error))


def _shared_ledger(document: Document) -> Iterator[Mistake]:
    url = document.get(("ledger", "url"), str(Ledger.model_fields["url"].default))
    if document.is_wrong(("ledger", "url")) or is_shared(url):
        return
    for key in ("password_file", "spool"):
        if document.has(("ledger", key)):
            yield Mistake(
                ("ledger", key), "is for a PostgreSQL ledger only", "remove it, or correct ledger.url"
            )


def _frame_mistake(document: Document, reader: KeyPath, problem: str) -> Mistake:
    """The driver says `prefix: what (hint)`, `postfix: ...` or `prefix, postfix: ...`."""
    which, _, problem = problem.partition(": ")
    what, _, hint = problem.partition(" (")
    key = "postfix" if which == "postfix" and document.has((*reader, "postfix")) else "prefix"
    return Mistake(
        (*reader, key), what, hint.removesuffix(")") or "write both exactly as in the reader's config.txt"
    )


def _key_versions(document: Document) -> Iterator[Mistake]:
    google: KeyPath = ("wallet", "google")
    if not document.has(google) or document.anything_wrong_in(google):
        return
    keys, versions = (len(document.places((*google, key))) or 1 for key in ("key", "key_version"))
    if keys != versions:
        hint = "give each key its version, in the same order"
        yield Mistake((*google, "key_version"), f"lists {versions} for {keys} key{'s' * (keys > 1)}", hint)


def _wallet(document: Document) -> Iterator[Mistake]:
    """Readers that do not decrypt by themselves need keys, or cards that need none."""
    wallet: KeyPath = ("wallet",)
    if document.has(wallet):
        if not document.anything_wrong_in(wallet) and not document.get(wallet, {}):
            yield Mistake(wallet, "names nobody's passes", "add a [wallet.apple] or a [wallet.google] table")
        yield from _key_versions(document)
        return
    for place in document.places(("reader",)):
        reader: KeyPath = ("reader", place)
        cards = (*reader, "cards")
        if document.get((*reader, "driver"), DEFAULT_DRIVER) in WITHOUT_KEYS and not document.places(cards):
            hint = "add [wallet.apple] or [wallet.google]"
            yield Mistake((*reader, "driver"), "this reader needs the keys of the passes", hint)


def _ecp(document: Document) -> Iterator[Mistake]:
    """What goes with which way of sending Apple's polling frame."""
    for place in document.places(("reader",)):
        reader: KeyPath = ("reader", place)
        ecp: KeyPath = (*reader, "ecp")
        commands: KeyPath = (*reader, "ecp_commands")
        way = document.get(ecp, "off")
        if document.get((*reader, "driver"), DEFAULT_DRIVER) != "pcsc" or document.is_wrong(ecp):
            continue
        if way != "off" and not document.has(("wallet", "apple")):
            hint = "add [wallet.apple], or remove it"
            yield Mistake(ecp, "is for iPhones, and nobody asks them for a pass", hint)
        if way == "commands" and not document.places(commands) and not document.anything_wrong_in(commands):
            yield Mistake(ecp, "lacks the commands", 'write ecp_commands = ["E0 00 00 20 01 45"]')
        for key, ways in _ECP_KEYS.items():
            if way not in ways and document.has((*reader, key)):
                named = " or ".join(f'"{one}"' for one in ways)
                yield Mistake((*reader, key), f"is for ecp = {named} only", "remove it, or correct ecp")
