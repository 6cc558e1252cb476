"""The calls of contract 3.1 as one table: what each takes, how it is checked, what it asks of the desk."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

import structlog

from tilltap.errors import CallError, ParamError
from tilltap.model import Currency, Peer, Who
from tilltap.server import jsonrpc
from tilltap.server.desk import Desk, Json

PROTOCOL = 1
KEY_LENGTH = 64  # sale_id, refund_id, request_id: contract 3.1
VALUE_LENGTH = 256  # a pass value as a reader or a scanner gives it: contract 3.1
NAME_LENGTH = 256  # names we gave out ourselves (tap, reward, till) or only log (client): as wide as a value
TOKEN_LENGTH = 4096  # unused on the Unix socket; longer than any token file somebody would make
REASON_LENGTH = 200  # one line in the manager's list
HISTORY_DEFAULT, HISTORY_MOST = 50, 1000  # entries; a thousand make about 200 kB, one screen is 50
MOST_POINTS = 1_000_000  # per adjustment: beyond any balance a shop hands out, so a slip of the hand

log = structlog.get_logger("tilltap.server")

Args = dict[str, Any]
Check = Callable[[Any, Currency], Any]


@dataclass(frozen=True, slots=True)
class Param:
    """How one parameter is read: `check` gives the desk's value or raises ValueError with a sentence."""

    check: Check
    required: bool = False
    null_counts: bool = False  # an explicit null says something; otherwise it is the same as left out


@dataclass(frozen=True, slots=True)
class Method:
    """`run` None: the session answers this one itself (`watch`). `writes`: see `permit`."""

    params: Mapping[str, Param]
    run: Callable[[Desk, Args, Peer], Awaitable[Any]] | None
    writes: bool = False


def _text(most: int) -> Check:
    def check(value: Any, _: Currency) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():
            raise ValueError(f"must be a string of 1-{most} printable characters")
        return value

    return check


def _integer(least: int, most: int | None = None) -> Check:
    def check(value: Any, _: Currency) -> int:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
        if not fits or (most is not None and value > most):
            raise ValueError(
                f"must be an integer of at least {least}" + (f", at most {most}" if most else "")
            )
        return int(value)

    return check


def _points(value: Any, currency: Currency) -> int:
    points: int = _integer(-MOST_POINTS, MOST_POINTS)(value, currency)
    if points == 0:
        raise ValueError("must not be 0: nothing to adjust")
    return points


def _amount(value: Any, currency: Currency) -> int:
    return currency.parse(value)


def _day(value: Any, _: Currency) -> date:
    # The calendar's first and last year are out of reach of the clocks that are ahead or behind.
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        with suppress(ValueError):
            day = date.fromisoformat(value)
            if date.min.year < day.year < date.max.year:
                return day
    raise ValueError('must be a day such as "2026-11-21"')


def _value_or_nobody(value: Any, currency: Currency) -> str | None:
    return None if value is None else _text(VALUE_LENGTH)(value, currency)


_KEY = Param(_text(KEY_LENGTH), required=True)
_NAME, _VALUE, _AMOUNT = Param(_text(NAME_LENGTH)), Param(_text(VALUE_LENGTH)), Param(_amount)
_SALE = {"sale_id": _KEY}
_ORDER = _SALE | {"total": Param(_amount, required=True), "eligible": _AMOUNT}
_WHO = {"tap_id": _NAME, "value": _VALUE}
_REWARD = _SALE | {"reward": Param(_text(NAME_LENGTH), required=True)}
_CUSTOMER = {"value": Param(_text(VALUE_LENGTH), required=True)}


def _who(args: Args) -> Who | None:
    if "tap_id" in args and "value" in args:
        raise ParamError("value", "value: give either tap_id or value, not both")
    return Who(args.get("tap_id"), args.get("value")) if args.keys() & {"tap_id", "value"} else None


async def _hello(desk: Desk, a: Args, _: Peer) -> Json:
    if a.get("protocol", PROTOCOL) != PROTOCOL:
        raise CallError(
            "unsupported-protocol", f"This till speaks protocol {PROTOCOL} only: update the till software."
        )
    return await desk.hello()


async def _attach(desk: Desk, a: Args, _: Peer) -> Json:
    who = _who(a)
    if who is None:
        raise ParamError("value", "value: missing (or tap_id); null takes the customer off")
    return await desk.sale_attach(a["sale_id"], who)


async def _adjust(desk: Desk, a: Args, peer: Peer) -> Json:
    if peer.uid not in {0, os.geteuid()}:
        raise CallError(
            "unauthorised", "Points are adjusted by the till's manager only (root or the daemon's user)."
        )
    return await desk.customer_adjust(a["value"], a["points"], a["reason"], a["request_id"], peer)


METHODS: dict[str, Method] = {
    "hello": Method(
        {
            "client": Param(_text(NAME_LENGTH), required=True),
            "protocol": Param(_integer(0)),
            "token": Param(_text(TOKEN_LENGTH)),
        },
        _hello,
    ),
    "watch": Method({"after": Param(_integer(0))}, None),
    "status": Method({}, lambda desk, _a, _p: desk.status()),
    "sale.open": Method(
        _ORDER | _WHO,
        lambda desk, a, _: desk.sale_open(a["sale_id"], a["total"], a.get("eligible"), _who(a)),
        writes=True,
    ),
    "sale.update": Method(
        _ORDER, lambda desk, a, _: desk.sale_update(a["sale_id"], a["total"], a.get("eligible")), writes=True
    ),
    "sale.attach": Method(
        _SALE | {"tap_id": _NAME, "value": Param(_value_or_nobody, null_counts=True)}, _attach, writes=True
    ),
    "sale.accept": Method(
        _REWARD, lambda desk, a, _: desk.sale_accept(a["sale_id"], a["reward"]), writes=True
    ),
    "sale.decline": Method(
        _REWARD, lambda desk, a, _: desk.sale_decline(a["sale_id"], a["reward"]), writes=True
    ),
    "sale.close": Method(
        _SALE | {"total": _AMOUNT, "eligible": _AMOUNT, "paid": _AMOUNT} | _WHO,
        lambda desk, a, _: desk.sale_close(
            a["sale_id"], a.get("total"), a.get("eligible"), a.get("paid"), _who(a)
        ),
        writes=True,
    ),
    "sale.cancel": Method(_SALE, lambda desk, a, _: desk.sale_cancel(a["sale_id"]), writes=True),
    "sale.refund": Method(
        _SALE | {"refund_id": _KEY, "till": _NAME, "amount": _AMOUNT},
        lambda desk, a, _: desk.sale_refund(a["sale_id"], a["refund_id"], a.get("till"), a.get("amount")),
        writes=True,
    ),
    "sale.get": Method(
        _SALE | {"till": _NAME}, lambda desk, a, _: desk.sale_get(a["sale_id"], a.get("till"))
    ),
    "customer.find": Method(_CUSTOMER, lambda desk, a, _: desk.customer_find(a["value"])),
    "customer.history": Method(
        _CUSTOMER | {"limit": Param(_integer(1, HISTORY_MOST))},
        lambda desk, a, _: desk.customer_history(a["value"], a.get("limit", HISTORY_DEFAULT)),
    ),
    "customer.adjust": Method(
        _CUSTOMER
        | {
            "points": Param(_points, required=True),
            "reason": Param(_text(REASON_LENGTH), required=True),
            "request_id": _KEY,
        },
        _adjust,
        writes=True,
    ),
    "mirror.list": Method({}, lambda desk, _a, _p: desk.mirror_list()),
    "mirror.retry": Method(
        {"value": _VALUE}, lambda desk, a, _: desk.mirror_retry(a.get("value")), writes=True
    ),
    "report": Method(
        {"day": Param(_day), "till": _NAME}, lambda desk, a, _: desk.report(a.get("day"), a.get("till"))
    ),
}


def permit(method: Method, peer: Peer) -> None:
    """CallError for a call that changes something from a program that may only look (`pos.write_group`)."""
    if method.writes and not peer.may_write:
        raise CallError(
            "unauthorised",
            "This program may look but not sell: its user is not in the till's group for that.",
        )


def check(method: Method, params: Any, currency: Currency) -> Args:
    """The given parameters as the desk takes them, those left out absent; ParamError names a bad one."""
    if not isinstance(params, dict):
        raise ParamError("params", "params: must be an object with named parameters")
    for name in params:
        if name not in method.params:
            shown = name[:KEY_LENGTH]
            raise ParamError(shown, f"{shown}: no such parameter of this call")
    args: Args = {}
    for name, param in method.params.items():
        value = params.get(name)
        if name not in params or (value is None and not param.required and not param.null_counts):
            if param.required:
                raise ParamError(name, f"{name}: missing")
            continue
        try:
            args[name] = param.check(value, currency)
        except ValueError as problem:
            raise ParamError(name, f"{name}: {problem}") from None
    return args


def refusal(request: jsonrpc.Request, problem: Exception) -> bytes:
    """The error line for whatever a call ended in. The unexpected is logged by its type alone: no values."""
    if isinstance(problem, CallError):
        data: dict[str, Any] = {"code": problem.code, "retry": problem.retry}
        return jsonrpc.error(request.id, jsonrpc.CALL_REFUSED, problem.message, data)
    if isinstance(problem, ParamError):
        return jsonrpc.error(request.id, jsonrpc.INVALID_PARAMS, problem.message, {"field": problem.field})
    log.error("a call failed unexpectedly", method=request.method, error=type(problem).__name__)
    return jsonrpc.error(
        request.id,
        jsonrpc.INTERNAL_ERROR,
        "The till could not do this and has noted why in its log. Sell without.",
    )


def find(request: jsonrpc.Request) -> Method | jsonrpc.Fault:
    """The table's row for a request, or why there is none."""
    method = METHODS.get(request.method)
    return method or jsonrpc.Fault(jsonrpc.METHOD_NOT_FOUND, "no such method", request.id)
