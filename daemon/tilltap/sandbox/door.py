"""The service's door: HTTP under /api/v1 becomes calls, and what goes wrong on purpose goes wrong here."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tilltap.sandbox import api
from tilltap.sandbox.api import ApiError, Call, Plan, Reply
from tilltap.sandbox.faults import Armed, Switchboard
from tilltap.sandbox.feed import Feed
from tilltap.sandbox.limits import RateLimit
from tilltap.sandbox.service import Service
from tilltap.sandbox.wire import FaultyResponse, JsonResponse, too_many

MAX_BODY = 64 * 1024  # bytes; the largest honest request is a few hundred


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`name` as rate limits, faults and the journal call it: method and path template below /api/v1."""

    name: str
    plan: Callable[[Service, Call], Plan]


def _read(show: Callable[[Service, Call], Reply]) -> Callable[[Service, Call], Plan]:
    def plan(service: Service, call: Call) -> Plan:
        reply = show(service, call)
        return Plan(None, lambda _request, _copy: reply)

    return plan


ENDPOINTS = (
    Endpoint("GET /loyalty/{id}", _read(api.show_loyalty)),
    Endpoint("PATCH /loyalty/{id}", api.plan_loyalty),
    Endpoint("GET /passes/{id}", _read(api.show_pass)),
    Endpoint("PATCH /passes/{id}", api.plan_pass),
    Endpoint("POST /passes/{id}/notification", api.plan_notification),
    Endpoint("GET /passes", _read(api.list_passes)),
    Endpoint("POST /passes", api.plan_create),
)
NAMES = tuple(endpoint.name for endpoint in ENDPOINTS)


class Later:
    """Changes that are to be made some seconds from now, on the running loop."""

    def __init__(self) -> None:
        self._timers: set[asyncio.TimerHandle] = set()

    def call(self, seconds: float, work: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.discard(timer)
            work()

        timer = asyncio.get_running_loop().call_later(seconds, due)
        self._timers.add(timer)

    def cancel(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def __len__(self) -> int:
        return len(self._timers)


class Door:
    """`key` None: any bearer key opens. `limit` None: no rate limit (tests, benches)."""

    def __init__(
        self,
        service: Service,
        faults: Switchboard,
        feed: Feed,
        later: Later,
        *,
        key: str | None,
        limit: RateLimit | None,
    ) -> None:
        self._service = service
        self._faults = faults
        self._feed = feed
        self._later = later
        self._key = key.encode() if key is not None else None
        self._limit = limit

    def routes(self) -> list[Route]:
        return [self._route(endpoint) for endpoint in ENDPOINTS]

    def _route(self, endpoint: Endpoint) -> Route:
        async def serve(request: Request) -> Response:
            return await self._serve(endpoint, request)

        method, _, path = endpoint.name.partition(" ")
        return Route(f"/api/v1{path}", serve, methods=[method], name=endpoint.name)

    async def _serve(self, endpoint: Endpoint, request: Request) -> Response:
        armed = self._faults.take(endpoint.name)
        call: Call | ApiError
        try:
            call = await take_apart(request)
        except ApiError as error:
            call = error
        seq = self._note_request(endpoint, call, armed)
        try:
            headers = self._admit(endpoint, request)
            reply = (
                Reply(0, {})
                if armed and armed.fault.apply == "never"
                else self._carry_out(endpoint, call, armed, seq)
            )
            reply = Reply(reply.status, reply.document, {**headers, **reply.headers})
        except ApiError as error:
            reply = error.reply()
        except _LimitedError as limited:
            reply = limited.reply
        if armed is None:
            self._service.note("answer", {"status": reply.status}, request=seq)
            return JsonResponse(reply)
        response = FaultyResponse(armed, reply, self._feed.stopping, request.scope["path"])
        self._service.note("answer", {"status": response.told, "fault": armed.fault.name}, request=seq)
        return response

    def _note_request(self, endpoint: Endpoint, call: Call | ApiError, armed: Armed | None) -> int:
        key, body = (call.key, call.body) if isinstance(call, Call) else ("", None)
        data = {"endpoint": endpoint.name, "key": key, "body": body, "fault": armed and armed.fault.name}
        return self._service.note("request", data)

    def _admit(self, endpoint: Endpoint, request: Request) -> dict[str, str]:
        """Key, then rate limit; the rate headers of the answer."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        given = key.strip().encode() if scheme.lower() == "bearer" else b""
        # Without a key of its own the sandbox lets everybody in, also a till that trains without one.
        if self._key is not None and not hmac.compare_digest(given, self._key):
            raise ApiError(401, "the API key is missing or wrong")
        if self._limit is None:
            return {}
        allowance = self._limit.ask(endpoint.name)
        headers = {
            "x-rate-limit-limit": str(self._limit.per_window),
            "x-rate-limit-remaining": str(allowance.remaining),
            "x-rate-limit-reset": str(ceil(allowance.reset_at)),
            "x-rate-limit-url": request.scope["path"],
        }
        if allowance.retry_after is not None:
            refusal = too_many(allowance.retry_after)
            raise _LimitedError(Reply(429, refusal.document, {**headers, **refusal.headers}))
        return headers

    def _carry_out(self, endpoint: Endpoint, call: Call | ApiError, armed: Armed | None, seq: int) -> Reply:
        if isinstance(call, ApiError):
            raise call
        plan = endpoint.plan(self._service, call)
        match armed.fault.apply if armed else "once":
            case "twice":
                plan.run(seq, False)
                return plan.run(seq, True)
            case "late":
                self._run_later(plan, armed, seq)
                return Reply(0, {})
            case "again-late":
                reply = plan.run(seq, False)
                self._run_later(plan, armed, seq)
                return reply
        return plan.run(seq, False)

    def _run_later(self, plan: Plan, armed: Armed | None, seq: int) -> None:
        def run() -> None:
            try:
                plan.run(seq, True)
            except (
                ApiError
            ) as error:  # the pass went away meanwhile: nobody is there to be told but the journal
                self._service.note("answer", {"status": error.status, "late": True}, request=seq)

        self._later.call(armed.seconds if armed else 0.0, run)


class _LimitedError(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__("rate limit")
        self.reply = reply


async def take_apart(request: Request) -> Call:
    """ApiError 400 or 413 for what is no honest request."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise ApiError(413, f"a request has at most {MAX_BODY} bytes")
    except ClientDisconnect:  # a killed daemon: nobody hears this, but the journal says what came
        raise ApiError(400, "the request did not arrive whole") from None
    return Call(
        path_key(request), dict(request.query_params), parse(bytes(body)), str(request.url.replace(query=""))
    )


def path_key(request: Request) -> str:
    """The `{id}` of the path, percent-decoded once: it may hold slashes, spaces and any letters."""
    try:
        return unquote(request.path_params.get("id", ""), errors="strict")
    except UnicodeDecodeError:
        raise ApiError(400, "the id in the path is not UTF-8") from None


def parse(body: bytes) -> Any:
    """The JSON value of a body, None for an empty one; ApiError 400."""

    def no_constant(name: str) -> None:
        raise ValueError(name)

    if not body.strip():
        return None
    try:
        return json.loads(body, parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not JSON") from None
