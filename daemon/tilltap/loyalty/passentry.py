"""PassEntry's API v1 as a `Provider`: five endpoints, a strict writer, and one outcome class per call.

Facts and their provenance: reference passentry.md; section numbers below are its. The sandbox speaks the
same language, with or without a key.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

import anyio
import structlog

from tilltap.loyalty import passentry_wire as wire
from tilltap.loyalty.budget import SPAN, Ask, Budget, NotGranted, hold_seconds
from tilltap.loyalty.http import ANSWER_LIMIT, PAGE_LIMIT, Http, NotSent, Reply, Unclear
from tilltap.loyalty.provider import Answer, Outcome, PassState
from tilltap.model import Notification

_log = structlog.get_logger(__name__)

_API = "/api/v1"

# A read changes nothing: one more try when the connection broke under it. A write is never repeated here;
# that is the mirror's to decide.
_READ_TRIES = 2

# The largest page the service gives (section 1).
_PER_PAGE = 100

# One page of a listing, its wait for the rate budget included: a hundred passes may take the service seconds.
_PAGE_DEADLINE = 30.0

# A page is asked for again when the service says "slow down": a listing shares its budget with other tills.
_PAGE_TRIES = 3

# 200 000 passes. More pages than that are a service that links in circles.
_MOST_PAGES = 2000

# Keys of the `pass` object that are not template fields (section 3, PATCH /passes/{id}).
_NOT_FIELDS = frozenset({"nfc", "barcode", ""})

# Each unknown pass status is logged once (section 8 rule 1); a service that makes them up is not followed on.
_MOST_ODD = 20

# Turns a readable 2xx into its answer; raises `wire.Unreadable`.
Judge = Callable[[wire.Json], Answer]


@dataclass(frozen=True, slots=True)
class _Call:
    """One request: `template` names the endpoint in the rate budget, `secrets` stay out of every reason."""

    method: str
    template: str
    path: str
    body: Mapping[str, object] | None = None
    secrets: tuple[str, ...] = ()
    limit: int = ANSWER_LIMIT
    pushes: bool = False  # the request holds a text for the customer's phone

    @property
    def endpoint(self) -> str:
        return f"{self.method} {self.template}"


class PassEntry:
    """One PassEntry organisation behind one API key. For one event loop.

    `key` None sends no key (the sandbox). Raises ValueError, without showing it, for a key that no HTTP
    header can hold. `others`: see `budget.Budget`.
    """

    def __init__(self, http: Http, key: str | None, others: Ask | None = None) -> None:
        self._http = http
        self._budget = Budget(others)
        self._key: str | None = None
        self._odd_statuses: set[str] = set()
        self.set_key(key)

    def set_key(self, key: str | None) -> None:
        """Another key from now on, after `Outcome.KEY_REFUSED`. ValueError as for the class."""
        # Visible ASCII: what RFC 9110 lets stand in a field without quoting or folding.
        if key is not None and not (key and all("!" <= char <= "~" for char in key)):
            raise ValueError("the API key is empty or has a space, a line end or a non-ASCII character in it")
        self._key = key

    async def read(self, key: str, *, deadline: float, urgent: bool = False) -> Answer:
        """The pass known under `key` with its balance; UNKNOWN if there is none to be read.

        An UNKNOWN for want of a usable balance still holds the state, with `points` None.
        """
        path = wire.target("/loyalty", key)
        if path is None:
            return _NO_SUCH_PASS
        call = _Call("GET", "/loyalty/{id}", path, secrets=(key,))
        reply = await self._perform(call, deadline=deadline, urgent=urgent)
        return reply if isinstance(reply, Answer) else _judged(reply, lambda doc: self._found(doc, key))

    async def write_points(
        self, pass_id: str, points: int, message: str | None, *, deadline: float
    ) -> Answer:
        """PATCH /loyalty with `overrideBalance`. DONE only if the answer names this pass and this balance.

        A message outside 5..350 characters is not sent (notification "suppressed"); the balance is.
        """
        path = wire.target("/loyalty", pass_id)
        if path is None:
            return _NO_SUCH_PASS
        if not -wire.MOST_POINTS <= points <= wire.MOST_POINTS:
            return Answer(Outcome.REFUSED, reason="the balance to write is out of range")
        body: dict[str, object] = {"overrideBalance": int(points)}
        text = _push_text(message)
        if text is not None:
            body["message"] = text
        call = _Call("PATCH", "/loyalty/{id}", path, body, secrets=(pass_id, text or ""), pushes=bool(text))
        answer = await self._write(call, pass_id, lambda doc: _points_answer(doc, points), deadline=deadline)
        return replace(answer, notification="suppressed") if message and text is None else answer

    async def write_field(self, pass_id: str, key: str, text: str, *, plain: bool, deadline: float) -> Answer:
        """PATCH /passes with one template field, in the form the pass uses (section 8 rule 6)."""
        path = wire.target("/passes", pass_id)
        if path is None:
            return _NO_SUCH_PASS
        if key in _NOT_FIELDS:
            return Answer(Outcome.REFUSED, reason="this key of the pass is not a template field")
        text = wire.whole(text)
        body = {"pass": {wire.whole(key): text if plain else {"value": text}}}
        call = _Call("PATCH", "/passes/{id}", path, body, secrets=(pass_id, text))
        return await self._write(call, pass_id, lambda doc: _field_answer(doc, key, text), deadline=deadline)

    async def notify(self, pass_id: str, message: str, *, deadline: float) -> Answer:
        """A push text without a change; REFUSED, unsent, outside 5..350 characters."""
        path = wire.target("/passes", pass_id, "/notification")
        if path is None:
            return _NO_SUCH_PASS
        text = _push_text(message)
        if text is None:
            return Answer(Outcome.REFUSED, reason="a push text has 5 to 350 characters")
        body = {"notification": {"message": text}}
        call = _Call("POST", "/passes/{id}/notification", path, body, secrets=(pass_id, text), pushes=True)
        return await self._write(call, pass_id, _pass_answer, deadline=deadline)

    async def list_passes(
        self, *, created_after: str | None = None
    ) -> AsyncIterator[Answer | list[PassState]]:
        """Pages of passes without balances; `created_after` is ISO 8601 (section 1).

        Follows `links.next` on our origin only. A page that fails yields its `Answer` and ends the listing.
        """
        path = f"/passes?perPage={_PER_PAGE}"
        if created_after:
            path += f"&createdAfter={quote(created_after, safe='')}"
        url: str | None = self._url(path)
        seen: set[str] = set()
        while url is not None:
            if url in seen or len(seen) == _MOST_PAGES:
                yield Answer(Outcome.UNKNOWN, reason="the service's list of passes does not end")
                return
            seen.add(url)
            got = await self._page(url)
            if isinstance(got, Answer):
                yield got
                return
            passes, link = got
            yield passes
            following = self._http.follow(url, link) if link else None
            if link and following is None:
                yield Answer(Outcome.UNKNOWN, reason="the service's list of passes leads to another address")
            url = following

    async def aclose(self) -> None:
        await self._http.aclose()

    def _found(self, doc: wire.Json, key: str) -> Answer:
        """What a read's answer says; raises `wire.Unreadable`."""
        state = wire.pass_state(doc)
        odd = wire.odd_status(doc)
        if odd is not None and odd not in self._odd_statuses and len(self._odd_statuses) < _MOST_ODD:
            self._odd_statuses.add(odd)
            _log.warning("the service names a pass status we do not know", status=odd)
        # Without an ext id nothing says that the name we asked by is not this pass's.
        if state.ext_id is not None and not wire.names_pass(state, key):
            raise wire.Unreadable("the answer is about another pass")
        try:
            return Answer(Outcome.DONE, replace(state, points=wire.balance(doc)))
        except wire.Unreadable as fault:
            return Answer(Outcome.UNKNOWN, state, reason=str(fault))

    async def _page(self, url: str) -> Answer | tuple[list[PassState], str | None]:
        call = _Call("GET", "/passes", url, limit=PAGE_LIMIT)
        answer = _NO_ANSWER
        for _ in range(_PAGE_TRIES):
            reply = await self._perform(call, deadline=_PAGE_DEADLINE)
            if isinstance(reply, Reply):
                try:
                    return wire.page(wire.load(reply.body))
                except wire.Unreadable as fault:
                    return Answer(Outcome.UNKNOWN, reason=str(fault))
            answer = reply
            if answer.outcome is not Outcome.LIMITED:
                break
        return answer

    async def _write(self, call: _Call, pass_id: str, judge: Judge, *, deadline: float) -> Answer:
        """One write and its class; `judge` looks at a readable 2xx whose pass has been found to be ours."""
        reply = await self._perform(call, deadline=deadline)
        if isinstance(reply, Answer):
            # Whoever cannot say whether the write arrived cannot say whether its text was shown.
            unsure = call.pushes and reply.outcome is Outcome.UNKNOWN
            return replace(reply, notification="unknown") if unsure else reply

        def ours(doc: wire.Json) -> Answer:
            if not wire.names_pass(wire.pass_state(doc), pass_id):
                raise wire.Unreadable("the answer is about another pass")
            return judge(doc)

        answer = _judged(reply, ours)
        return replace(answer, notification=_notification(reply)) if call.pushes else answer

    async def _perform(self, call: _Call, *, deadline: float, urgent: bool = False) -> Reply | Answer:
        """One call within `deadline`: a 2xx `Reply`, or the `Answer` that everything else amounts to."""
        give_up = anyio.current_time() + deadline
        tries = _READ_TRIES if call.method == "GET" else 1
        answer = _NO_ANSWER
        for _ in range(tries):
            try:
                return self._classed(call, await self._ask(call, give_up=give_up, urgent=urgent))
            except NotGranted as full:
                reason = _LIMITED if full.held else str(full)
                return Answer(Outcome.LIMITED, reason=reason, retry_after=full.held or SPAN)
            except NotSent as fault:
                return Answer(Outcome.NOT_SENT, reason=str(fault))
            except Unclear as fault:
                answer = Answer(Outcome.UNKNOWN, reason=str(fault))
                if not fault.broken:
                    break
        return answer

    async def _ask(self, call: _Call, *, give_up: float, urgent: bool) -> Reply:
        """Waits for the budget, then asks. `give_up` is on the event loop's clock."""
        await self._budget.wait(call.endpoint, urgent=urgent, deadline=give_up - anyio.current_time())
        body = None if call.body is None else json.dumps(call.body).encode()
        headers = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return await self._http.exchange(
            call.method,
            self._url(call.path),
            headers=headers,
            body=body,
            limit=call.limit,
            deadline=give_up - anyio.current_time(),
        )

    def _classed(self, call: _Call, reply: Reply) -> Reply | Answer:
        if reply.status == 429:
            pause = hold_seconds(reply.headers)
            self._budget.hold(call.endpoint, pause)
            return Answer(Outcome.LIMITED, reason=_LIMITED, retry_after=pause)
        if 200 <= reply.status < 300:
            return reply
        return wire.refusal(reply.status, reply.headers, reply.body, (self._key or "", *call.secrets))

    def _url(self, path: str) -> str:
        """A path below the API, or a link that the service gave and `Http.follow` let through."""
        return f"{self._http.base}{_API}{path}" if path.startswith("/") else path


_NO_SUCH_PASS = Answer(Outcome.GONE, reason="this value cannot be a pass")
_NO_ANSWER = Answer(Outcome.UNKNOWN, reason="no answer")
_LIMITED = "the service's rate limit is reached"


def _judged(reply: Reply, judge: Judge) -> Answer:
    """What a 2xx amounts to. A body that cannot be read leaves the outcome open (section 8 rule 5)."""
    try:
        return judge(wire.load(reply.body))
    except wire.Unreadable as fault:
        return Answer(Outcome.UNKNOWN, reason=str(fault))


def _pass_answer(doc: wire.Json) -> Answer:
    return Answer(Outcome.DONE, wire.pass_state(doc))


def _points_answer(doc: wire.Json, points: int) -> Answer:
    state = replace(wire.pass_state(doc), points=wire.balance(doc))
    if state.points == points:
        return Answer(Outcome.DONE, state)
    return Answer(Outcome.UNKNOWN, state, reason="the service answered with another balance than was sent")


def _field_answer(doc: wire.Json, key: str, text: str) -> Answer:
    state = wire.pass_state(doc)
    # Some answers leave the content out; spaces at the ends are the service's to trim.
    if state.fields.get(wire.clean(key), wire.clean(text)).strip() == wire.clean(text).strip():
        return Answer(Outcome.DONE, state)
    return Answer(Outcome.UNKNOWN, state, reason="the service answered with another text than was sent")


def _push_text(message: str | None) -> str | None:
    """A push text as it may be sent, or None (section 8 rule 8)."""
    text = wire.whole(message) if message else ""
    return text if len(text) in wire.MESSAGE_LENGTH else None


def _notification(reply: Reply) -> Notification:
    try:
        doc = wire.load(reply.body)
    except wire.Unreadable:
        doc = None
    return wire.notification(doc, reply.headers)
