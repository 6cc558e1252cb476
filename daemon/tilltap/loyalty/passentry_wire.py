"""PassEntry's answers as plain values: a tolerant reader. Pure; never raises for anything in a body.

The rules are those of passentry.md section 8 (parsing) and section 9 (outcome classes).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

from tilltap.loyalty.provider import Answer, Outcome, PassState
from tilltap.model import Notification

Json = Any

# Nobody collects a thousand million points; a larger number is a fault, and arithmetic on it must stay cheap.
MOST_POINTS = 10**9

# A page has at most 100 passes (section 1); a list of a thousand is no page of theirs.
MOST_ON_PAGE = 1000

# A push text outside these lengths may be dropped or cut by the service (passentry.md A2).
MESSAGE_LENGTH = range(5, 351)

# Of the service's own words this much is looked at (section 8 rule 3) ...
_TEXT_LIMIT = 500

# ... and this much goes into a reason: a line or two on a terminal.
_SENTENCE_LIMIT = 160

# `errors` may nest; deeper than any published sample.
_ERROR_DEPTH = 4

_STATUSES = frozenset({"issued", "active", "removed", "deactivated"})
_UUID_OR_HEX = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{40}", re.IGNORECASE)
_NUMBER_TEXT = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?")
_HALF_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSPEAKABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# What looks like an id: letters with digits, long numbers, long words, e-mail addresses, quotations.
_LOOKS_LIKE_ID = re.compile(r"(?=[\w-]*[0-9])(?=[\w-]*[^\W0-9])[\w-]+|[0-9]{5,}|\w{25,}|[@=#\"`“„«]")


class Unreadable(Exception):
    """An answer that is not what the endpoint promises. The text is a short reason free of ids."""


def load(body: bytes) -> Json:
    """JSON with exact numbers (`Decimal`, `int`). Raises `Unreadable`."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, ArithmeticError, RecursionError):
        raise Unreadable("the answer is not JSON") from None


def _no_number(_: str) -> None:
    """NaN and Infinity are not JSON; as None they count as missing."""


def target(prefix: str, key: str, suffix: str = "") -> str | None:
    """A path with `key` fully percent-encoded; None if no path can hold it.

    A dot segment would make servers and clients name another endpoint, however it is encoded.
    """
    if not key.strip() or {".", ".."} & set(re.split(r"[/\\]", key)):
        return None
    try:
        return f"{prefix}/{quote(key, safe='')}{suffix}"
    except UnicodeEncodeError:
        return None


def canonical_id(text: str) -> str:
    """A pass id as we keep it: UUIDs and 40-hex ids in lower case, all else as it is (section 8 rule 7)."""
    return text.lower() if _UUID_OR_HEX.fullmatch(text) else text


def clean(text: str) -> str:
    """`text` without what cannot be shown on one line: control characters become spaces."""
    return _UNSPEAKABLE.sub(" ", whole(text))


def whole(text: str) -> str:
    """`text` without half surrogates, which no encoding can hold."""
    return _HALF_SURROGATE.sub("\ufffd", text)


def balance(doc: Json) -> int:
    """`meta.loyalty.balance` in whole points. Raises `Unreadable` for a missing or unusable one."""
    value = _dig(doc, "meta", "loyalty", "balance")
    if value is None or isinstance(value, (bool, dict, list)):
        raise Unreadable("the answer holds no balance")
    if isinstance(value, str):
        if not _NUMBER_TEXT.fullmatch(value.strip()):
            raise Unreadable("the balance is not a number")
        value = value.strip()
    try:
        number = Decimal(value)
        # Before any arithmetic: 1e999999 must stay a name, not become a million digits.
        if not -MOST_POINTS <= number <= MOST_POINTS:
            raise Unreadable("the balance is out of range")
        if number != (points := int(number)):
            raise Unreadable("the balance is not whole; the template must count in integers")
    except InvalidOperation:
        raise Unreadable("the balance is not a number") from None
    return points


def pass_state(doc: Json) -> PassState:
    """The pass in an answer's `data`, without its balance. Raises `Unreadable`."""
    return _resource(_dig(doc, "data"))


def _resource(resource: Json) -> PassState:
    pass_id = _id(_dig(resource, "id"))
    if pass_id is None:
        raise Unreadable("the answer holds no pass")
    attributes = _dig(resource, "attributes")
    nfc = _dig(attributes, "nfc")
    fields, plain = _fields(_dig(attributes, "passContent"))
    status = str(_dig(attributes, "status")).lower()
    return PassState(
        pass_id=canonical_id(pass_id),
        ext_id=_id(_dig(attributes, "extId")),
        nfc=_id(_dig(nfc, "value") if isinstance(nfc, dict) else nfc),
        status=status if status in _STATUSES else "unknown",
        fields=fields,
        plain_fields=plain,
    )


def odd_status(doc: Json) -> str | None:
    """A pass status that we do not know, for the log; None if it is known, missing or no plain word."""
    status = _dig(doc, "data", "attributes", "status")
    if (
        not isinstance(status, str)
        or status.lower() in _STATUSES
        or not re.fullmatch(r"[A-Za-z_]{1,20}", status)
    ):
        return None
    return status


def page(doc: Json) -> tuple[list[PassState], str | None]:
    """Passes of a list answer and its `links.next`. Raises `Unreadable`. Items without id are left out."""
    items = _dig(doc, "data")
    if not isinstance(items, list):
        raise Unreadable("the answer holds no list of passes")
    if len(items) > MOST_ON_PAGE:
        raise Unreadable("the answer holds more passes than a page has")
    passes = [_resource(item) for item in items if _id(_dig(item, "id")) is not None]
    link = _dig(doc, "links", "next")
    if isinstance(link, dict):  # JSON:API's long form
        link = link.get("href")
    return passes, link if isinstance(link, str) and link else None


def names_pass(state: PassState, key: str) -> bool:
    """Whether `key` is one of the names of the pass that was answered."""
    names = (state.pass_id, state.ext_id, state.nfc)
    return canonical_id(key) in {canonical_id(name) for name in names if name is not None}


def notification(doc: Json, headers: Mapping[str, str]) -> Notification:
    """What became of a text that was sent: `meta.notifications`, else the header (section 2.3, A16)."""
    told = _dig(doc, "meta", "notifications")
    entries = told if isinstance(told, list) else [told]
    words = [_dig(entry, "status") if isinstance(entry, dict) else entry for entry in entries]
    words = [word for word in words if isinstance(word, str)] or [headers.get("x-notification-status", "")]
    plain = {re.sub(r"[\W_]", "", word.lower()) for word in words}
    if "delivered" in plain:
        return "delivered"
    return "not-delivered" if "notdelivered" in plain else "unknown"


def refusal(status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str]) -> Answer:
    """The answer for a status that is not 2xx and not 429. `secrets` never appear in its reason."""
    try:
        doc = load(body) if body else None
    except Unreadable:
        doc, theirs = None, False
    else:
        # Section 1: some errors come without text. An empty body says so itself; an end of stream does not.
        theirs = bool(body) or headers.get("content-length") == "0"
    if status in (401, 403):
        # A till's key is refused in plain words by some servers; only a web page is somebody else's.
        outcome = Outcome.UNKNOWN if _is_page(headers, body) else Outcome.KEY_REFUSED
    else:
        outcome = _OUTCOMES.get(status, Outcome.UNKNOWN) if theirs else Outcome.UNKNOWN
    said = sentence(doc, secrets)
    return Answer(outcome, reason=f"the service answered {status}" + (f": {said}" if said else ""))


# Section 9, for answers that are the service's own; every other status is unknown.
_OUTCOMES = {400: Outcome.REFUSED, 422: Outcome.REFUSED, 404: Outcome.GONE}


def sentence(doc: Json, secrets: Iterable[str]) -> str:
    """The service's own words on what is wrong, on one short line; empty if they may name somebody.

    `errors` may be strings, objects, an object of lists or one string, `error` or `message` may stand at the
    top (section 8 rule 3).
    """
    texts: list[str] = []
    for name in ("errors", "error", "message"):
        _gather(_dig(doc, name), texts, _ERROR_DEPTH)
    if isinstance(doc, str):
        texts.append(doc)
    said = " ".join(clean("; ".join(texts)[:_TEXT_LIMIT]).split())
    lowered = said.lower()
    if _LOOKS_LIKE_ID.search(said) or any(part in lowered for part in _telling_parts(secrets)):
        return ""
    return said[:_SENTENCE_LIMIT]


def _telling_parts(secrets: Iterable[str]) -> Iterable[str]:
    """Every eight characters of each secret, percent-encoded too: services like to quote part of a key."""
    for secret in secrets:
        for form in {secret.lower(), quote(secret, safe="", errors="replace").lower()} - {""}:
            width = min(8, len(form))
            yield from (form[at : at + width] for at in range(len(form) - width + 1))


def _gather(value: Json, texts: list[str], depth: int) -> None:
    if isinstance(value, str) and value.strip():
        texts.append(value.strip())
    elif isinstance(value, list) and depth:
        for item in value:
            _gather(item, texts, depth - 1)
    elif isinstance(value, dict) and depth:
        named = [value[name] for name in ("title", "detail", "message") if name in value]
        for item in named or value.values():
            _gather(item, texts, depth - 1)


def _is_page(headers: Mapping[str, str], body: bytes) -> bool:
    return "html" in headers.get("content-type", "").lower() or body.lstrip()[:1] == b"<"


def _dig(value: Json, *names: str) -> Json:
    """The value at that path of objects; None where there is none."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _id(value: Json) -> str | None:
    """An id as text; None for what cannot be one (nothing, no text or number, characters nobody can show)."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or _UNSPEAKABLE.search(value):
        return None
    return value


def _fields(content: Json) -> tuple[dict[str, str], bool]:
    """`passContent` as texts, and whether the pass uses bare values instead of `{"value": ...}` (rule 6)."""
    fields: dict[str, str] = {}
    bare = False
    for key, value in content.items() if isinstance(content, dict) else ():
        wrapped = isinstance(value, dict)
        text = value.get("value") if wrapped else value
        if isinstance(text, (str, Decimal, int)) and not isinstance(text, bool):
            fields[clean(key)] = clean(str(text))
            bare = bare or not wrapped
    return fields, bare
