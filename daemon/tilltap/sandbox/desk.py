"""The trainer's side: pages, live streams, fault switches, and edits as made at the dashboard.

Everything under /sandbox is JSON and is described in docs/sandbox.md; the pages use nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tilltap.sandbox import pages
from tilltap.sandbox.api import MAX_ID, ApiError, iso
from tilltap.sandbox.door import NAMES, Later, path_key, take_apart
from tilltap.sandbox.faults import GROUPS, MAX_COUNT, MAX_SECONDS, MENU, Armed, Fault, Switchboard
from tilltap.sandbox.feed import MAX_STREAMS, Feed
from tilltap.sandbox.service import (
    MAX_POINTS,
    REWARD_FIELD,
    STATUSES,
    Change,
    Entry,
    NewPass,
    Pass,
    RefusedError,
    Service,
    UnknownPassError,
)

Json = dict[str, Any]
T = TypeVar("T", bound=str)

SHOWN = 200  # passes on the operator's page; all of them are at /sandbox/passes
RECENT = 60  # journal lines the operator's page shows; the whole journal is at /sandbox/journal


class Desk:
    def __init__(
        self, service: Service, faults: Switchboard, feed: Feed, later: Later, *, programme: str
    ) -> None:
        self._service = service
        self._faults = faults
        self._feed = feed
        self._later = later
        self._programme = programme

    def routes(self) -> list[Route]:
        table: list[tuple[str, str, Callable[[Request], Any]]] = [
            ("GET", "/", self._overview),
            ("GET", "/phone/{id}", self._phone),
            ("GET", "/static/{name}", self._static),
            ("GET", "/sandbox/live", self._live),
            ("GET", "/sandbox/passes", self._passes),
            ("POST", "/sandbox/passes", self._create),
            ("GET", "/sandbox/passes/{id}", self._pass),
            ("GET", "/sandbox/passes/{id}/live", self._pass_live),
            ("POST", "/sandbox/passes/{id}/balance", self._set_balance),
            ("POST", "/sandbox/passes/{id}/status", self._set_status),
            ("GET", "/sandbox/faults", self._list_faults),
            ("POST", "/sandbox/faults", self._arm),
            ("DELETE", "/sandbox/faults", self._disarm),
            ("GET", "/sandbox/journal", self._journal),
            ("POST", "/sandbox/reset", self._reset),
        ]
        return [Route(path, serve, methods=[method]) for method, path, serve in table]

    # --- pages ---

    async def _overview(self, _request: Request) -> Response:
        return pages.html(pages.overview(self._programme))

    async def _phone(self, request: Request) -> Response:
        try:
            state = self._service.find(path_key(request))
        except UnknownPassError:
            return pages.html(pages.missing(self._programme), 404)
        return pages.html(pages.phone(self._programme, pass_view(state)))

    async def _static(self, request: Request) -> Response:
        return pages.static(request.path_params["name"]) or PlainTextResponse("no such file\n", 404)

    async def _live(self, _request: Request) -> Response:
        return self._stream(self._overview_state)

    async def _pass_live(self, request: Request) -> Response:
        pass_id = self._find(request).id

        def state() -> Json | None:
            try:
                return pass_view(self._service.find(pass_id))
            except UnknownPassError:
                return None

        return self._stream(state)

    def _stream(self, state: Callable[[], Json | None]) -> Response:
        if self._feed.full:
            return PlainTextResponse(
                f"{MAX_STREAMS} live pages are open; close some\n", 503, {"retry-after": "5"}
            )
        return self._feed.response(state)

    def _overview_state(self) -> Json:
        passes = self._service.passes()
        return {
            "passes": [pass_view(state) for state in passes[:SHOWN]],
            "more": max(0, len(passes) - SHOWN),
            "armed": [armed_view(armed) for armed in self._faults.armed()],
            "late": len(self._later),
            "recent": [entry_view(entry) for entry in self._service.newest(RECENT)],
        }

    # --- passes ---

    async def _passes(self, _request: Request) -> Response:
        return JSONResponse([pass_view(state) for state in self._service.passes()])

    async def _pass(self, request: Request) -> Response:
        return JSONResponse(pass_view(self._find(request)))

    async def _create(self, request: Request) -> Response:
        body = await _body(request, {"ext_id", "nfc", "balance", "status"})
        new = NewPass(
            _text(body, "ext_id"),
            _integer(body, "balance", 0, -MAX_POINTS, MAX_POINTS),
            _text(body, "nfc") if body.get("nfc") else None,
            _choice(body, "status", STATUSES, "active"),
        )
        try:
            return JSONResponse(pass_view(self._service.create(new)), 201)
        except RefusedError as error:
            raise ApiError(422, str(error)) from None

    async def _set_balance(self, request: Request) -> Response:
        state, body = self._find(request), await _body(request, {"delta", "balance"})
        if len(body) != 1:
            raise ApiError(422, "send exactly one of delta and balance")
        [key] = body
        points = _integer(body, key, 0, -MAX_POINTS, MAX_POINTS)
        return self._apply(state, Change(delta=points) if key == "delta" else Change(balance=points))

    async def _set_status(self, request: Request) -> Response:
        state, body = self._find(request), await _body(request, {"status"})
        return self._apply(state, Change(status=_choice(body, "status", STATUSES, None)))

    def _apply(self, state: Pass, change: Change) -> Response:
        try:
            return JSONResponse(pass_view(self._service.apply(state.id, change).state))
        except RefusedError as error:
            raise ApiError(422, str(error)) from None

    def _find(self, request: Request) -> Pass:
        try:
            return self._service.find(path_key(request))
        except UnknownPassError:
            raise ApiError(404, "there is no such pass") from None

    # --- faults, journal, reset ---

    async def _list_faults(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "menu": [fault_view(fault) for fault in MENU.values()],
                "endpoints": {**GROUPS, **dict.fromkeys(NAMES, "this endpoint")},
                "armed": [armed_view(armed) for armed in self._faults.armed()],
            }
        )

    async def _arm(self, request: Request) -> Response:
        body = await _body(request, {"fault", "endpoint", "count", "seconds"})
        fault = MENU[_choice(body, "fault", tuple(MENU), None)]
        endpoint = _choice(body, "endpoint", (*GROUPS, *NAMES), fault.endpoint)
        lasting = True if "count" in body and body["count"] is None else None
        count = _integer(body, "count", 1, 1, MAX_COUNT) if body.get("count") is not None else None
        seconds = body.get("seconds")
        if seconds is not None and (type(seconds) not in (int, float) or not 0 <= seconds <= MAX_SECONDS):
            raise ApiError(422, f"seconds is a number from 0 to {MAX_SECONDS:.0f}")
        try:
            armed = self._faults.arm(
                fault, endpoint=endpoint, count=count, until_off=lasting, seconds=seconds
            )
        except ValueError as error:
            raise ApiError(422, str(error)) from None
        self._feed.wake()
        return JSONResponse(armed_view(armed), 201)

    async def _disarm(self, request: Request) -> Response:
        number = request.query_params.get("number")
        if number is not None and not (number.isascii() and number.isdigit()):
            raise ApiError(422, "number is the one that switching on answered")
        self._faults.clear(int(number) if number else None)
        self._feed.wake()
        return await self._list_faults(request)

    async def _journal(self, request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) < 19):
            raise ApiError(422, "after is the seq of a journal entry")
        return JSONResponse([entry_view(entry) for entry in self._service.journal(int(after))])

    async def _reset(self, _request: Request) -> Response:
        self._later.cancel()
        self._faults.clear()
        self._service.reset()
        return JSONResponse([pass_view(state) for state in self._service.passes()])


# --- views: what the pages and /sandbox tell -------------------------------------------------------


def phone_path(name: str) -> str:
    """Address of a customer's phone, by ext id or pass id."""
    return f"/phone/{quote(name, safe='')}"


def pass_view(state: Pass) -> Json:
    return {
        "id": state.id,
        "ext_id": state.ext_id,
        "name": state.name,
        "nfc": state.nfc,
        "status": state.status,
        "balance": state.balance,
        "reward": state.fields.get(REWARD_FIELD, ""),
        "fields": dict(state.fields),
        "latest_message": state.latest_message,
        "notifications": [
            {"at": iso(n.at), "text": n.text, "shown": n.shown, "reason": n.reason, "request": n.request}
            for n in state.notifications
        ],
        "phone": phone_path(state.name),
    }


def entry_view(entry: Entry) -> Json:
    return {
        "seq": entry.seq,
        "at": iso(entry.at),
        "kind": entry.kind,
        "request": entry.request,
        "pass": entry.pass_id,
        **entry.data,
    }


def fault_view(fault: Fault) -> Json:
    return {
        "fault": fault.name,
        "group": fault.group,
        "why": fault.why,
        "endpoint": fault.endpoint,
        "seconds": fault.seconds,
    }


def armed_view(armed: Armed) -> Json:
    return {
        "number": armed.number,
        "fault": armed.fault.name,
        "endpoint": armed.endpoint,
        "left": armed.left,
        "seconds": armed.seconds,
    }


# --- taking a request apart ------------------------------------------------------------------------


async def _body(request: Request, keys: set[str]) -> Json:
    body = (await take_apart(request)).body
    if not isinstance(body, dict) or not body.keys() <= keys:
        raise ApiError(422, f"the body is a JSON object with {', '.join(sorted(keys))}")
    return body


def _text(body: Json, key: str) -> str:
    text = body.get(key)
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_ID or not text.isprintable():
        raise ApiError(422, f"{key} is a text of 1 to {MAX_ID} printable characters")
    return text


def _integer(body: Json, key: str, default: int, least: int, most: int) -> int:
    value = body.get(key, default)
    if type(value) is not int or not least <= value <= most:
        raise ApiError(422, f"{key} is a whole number from {least} to {most}")
    return value


def _choice(body: Json, key: str, choices: tuple[T, ...], default: T | None) -> T:
    value = body.get(key, default)
    for choice in choices:
        if choice == value:
            return choice
    raise ApiError(422, f"{key} is one of: {', '.join(choices)}")
