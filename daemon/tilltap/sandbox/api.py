"""The PassEntry endpoints in use as functions of values: a `Call` in, a `Reply` out. Pure.

Shapes are PassEntry API v1's (JSON:API). Where its documentation is silent the sandbox is stricter than
the real service may be, so that a sloppy caller is found out in training and not in the shop: whole numbers
only, texts of 5 to 350 characters, unknown template keys refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from tilltap.sandbox.service import (
    MAX_POINTS,
    POINTS_FIELD,
    STATUSES,
    TEMPLATE_ID,
    TEMPLATE_NAME,
    Applied,
    Change,
    NewPass,
    Notification,
    Pass,
    RefusedError,
    Service,
    UnknownPassError,
)

Json = dict[str, Any]

MESSAGE_LENGTH = range(5, 351)  # characters of a push text that a public client found to be shown whole
FIELD_LENGTH = 500  # characters of a template field; far more than a phone shows
PER_PAGE = 100  # default of list pages
MAX_PER_PAGE = 500
MAX_ID = 256  # characters of an ext id or NFC value, as on the POS socket


@dataclass(frozen=True, slots=True)
class Call:
    """A request taken apart. `key`: the `{id}` of the path, decoded; `url`: the address without the query."""

    key: str
    query: Mapping[str, str]
    body: Any
    url: str


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    document: Json
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """A write understood and found in order: `run` carries it out, any number of times, now or later."""

    pass_id: str | None
    run: Callable[[int | None, bool], Reply]


class ApiError(Exception):
    """Ends a call with `status` and a JSON:API errors document."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail

    def reply(self) -> Reply:
        return errors(self.status, self.detail)


def errors(status: int, detail: str) -> Reply:
    titles = {
        400: "Bad request",
        401: "Unauthorized",
        404: "Not found",
        413: "Too large",
        422: "Unprocessable",
    }
    title = titles.get(status, "Error")
    return Reply(status, {"errors": [{"status": str(status), "title": title, "detail": detail}]})


def iso(at: float | None) -> str | None:
    """Unix seconds as ISO 8601 UTC with milliseconds."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- reads -----------------------------------------------------------------------------------------


def show_loyalty(service: Service, call: Call) -> Reply:
    return Reply(200, loyalty_document(_find(service, call.key)))


def show_pass(service: Service, call: Call) -> Reply:
    return Reply(200, pass_document(_find(service, call.key)))


def list_passes(service: Service, call: Call) -> Reply:
    """Pages of `perPage`, in order of creation; filters `createdAfter`, `createdBefore`, `status`."""
    per_page = _number(call.query, "perPage", PER_PAGE, MAX_PER_PAGE)
    page = _number(call.query, "page", 1, MAX_POINTS)
    after = _time(call.query, "createdAfter", float("-inf"))
    before = _time(call.query, "createdBefore", float("inf"))
    status = call.query.get("status")
    if status is not None and status not in STATUSES:
        raise ApiError(400, f"status is one of {', '.join(STATUSES)}")
    if call.query.get("passTemplateUuid", TEMPLATE_ID) != TEMPLATE_ID:
        raise ApiError(404, "there is no such pass template")
    found = [
        state
        for state in service.passes()
        if after < state.created_at < before and (status is None or state.status == status)
    ]
    pages = max(1, -(-len(found) // per_page))
    chosen = found[(page - 1) * per_page : page * per_page]

    def link(to: int) -> str | None:
        wanted = {**call.query, "perPage": str(per_page), "page": str(to)}
        return f"{call.url}?{urlencode(wanted)}" if 1 <= to <= pages else None

    return Reply(
        200,
        {
            "data": [_resource(state) for state in chosen],
            "meta": {"page": page, "perPage": per_page, "totalPages": pages, "totalCount": len(found)},
            "links": {
                "self": link(page),
                "prev": link(page - 1),
                "next": link(page + 1),
                "last": link(pages),
            },
        },
    )


# --- writes ----------------------------------------------------------------------------------------


def plan_loyalty(service: Service, call: Call) -> Plan:
    """PATCH /loyalty/{id}: one of `balance` (signed delta) and `overrideBalance`; optional `message`."""
    state = _find(service, call.key)
    body = _object(call.body, "the body", 422)
    given = [key for key in ("balance", "overrideBalance") if key in body]
    if len(given) != 1:
        raise ApiError(422, "send exactly one of balance and overrideBalance")
    points = body[given[0]]
    if type(points) is not int or abs(points) > MAX_POINTS:
        raise ApiError(422, f"{given[0]} is a whole number of points")
    absolute = given[0] == "overrideBalance"
    if absolute and points < 0:
        raise ApiError(422, "overrideBalance is not negative")
    change = Change(
        balance=points if absolute else None,
        delta=None if absolute else points,
        message=_message(body, 422),
        message_needs_active=True,
    )
    return _change_plan(service, state, change, loyalty_document)


def plan_pass(service: Service, call: Call) -> Plan:
    """PATCH /passes/{id}: `pass` {key: text or {value}, nfc {source, value}}, `message`, `passAction`."""
    state = _find(service, call.key)
    body = _object(call.body, "the body", 400)
    fields, nfc = _content(service, _object(body.get("pass", {}), "pass", 400), state.id, state.ext_id)
    actions = {None: None, "deactivate": "deactivated", "reactivate": "active"}
    action = body.get("passAction")
    if not (action is None or isinstance(action, str)) or action not in actions:
        raise ApiError(400, "passAction is deactivate or reactivate")
    change = Change(message=_message(body, 400), fields=fields, nfc=nfc, status=actions[action])  # type: ignore[arg-type]
    return _change_plan(service, state, change, pass_document)


def plan_notification(service: Service, call: Call) -> Plan:
    """POST /passes/{id}/notification: a text with no other change."""
    state = _find(service, call.key)
    body = _object(_object(call.body, "the body", 400).get("notification"), "notification", 400)
    message = _message(body, 400)
    if message is None:
        raise ApiError(400, "notification.message is missing")
    return _change_plan(service, state, Change(message=message), pass_document)


def plan_create(service: Service, call: Call) -> Plan:
    """POST /passes?passTemplate=...&extId=...: a new pass, in no wallet yet."""
    if call.query.get("passTemplate") not in (TEMPLATE_ID, TEMPLATE_NAME):
        raise ApiError(400, f"passTemplate is {TEMPLATE_ID}")
    ext_id = call.query.get("extId")
    if ext_id is not None and not (1 <= len(ext_id) <= MAX_ID and ext_id.isprintable()):
        raise ApiError(400, f"extId has 1 to {MAX_ID} printable characters")
    body = _object({} if call.body is None else call.body, "the body", 400)
    fields, nfc = _content(service, _object(body.get("pass", {}), "pass", 400), None, ext_id)

    def run(request: int | None, copy: bool) -> Reply:
        try:
            state = service.create(NewPass(ext_id, nfc=nfc, status="issued"), request=request)
        except RefusedError as error:
            raise ApiError(400, str(error)) from error
        if fields:
            state = service.apply(state.id, Change(fields=fields), request=request, copy=copy).state
        return Reply(200, pass_document(state))

    return Plan(None, run)


def _change_plan(service: Service, state: Pass, change: Change, document: Callable[[Pass], Json]) -> Plan:
    def run(request: int | None, copy: bool) -> Reply:
        try:
            applied = service.apply(state.id, change, request=request, copy=copy)
        except UnknownPassError as error:
            raise ApiError(404, "there is no such pass") from error
        except RefusedError as error:
            raise ApiError(422, str(error)) from error
        return _written(applied, document(applied.state))

    return Plan(state.id, run)


def _written(applied: Applied, document: Json) -> Reply:
    notification = applied.notification
    if notification is None:
        return Reply(200, document)
    status = notification_status(notification)
    told = {"status": status, "message": notification.reason}
    return Reply(
        200,
        {**document, "meta": {**document.get("meta", {}), "notifications": told}},
        {"X-Notification-Status": status},
    )


def notification_status(notification: Notification) -> str:
    return "delivered" if notification.shown else "notDelivered"


# --- documents -------------------------------------------------------------------------------------


def pass_document(state: Pass) -> Json:
    return {"data": _resource(state)}


def loyalty_document(state: Pass) -> Json:
    return {"data": _resource(state), "meta": {"loyalty": {"balance": state.balance}}}


def _resource(state: Pass) -> Json:
    content = {POINTS_FIELD: str(state.balance), **state.fields}
    return {
        "id": state.id,
        "type": "pass",
        "attributes": {
            "passType": "storeCard",
            "deviceType": None if state.status == "issued" else "iphone",
            "status": state.status,
            "extId": state.ext_id,
            "groupTags": [],
            "createdAt": iso(state.created_at),
            "addedAt": None if state.status == "issued" else iso(state.created_at),
            "deactivatedAt": iso(state.deactivated_at),
            "expiresAt": None,
            "passTemplateUuid": TEMPLATE_ID,
            "passTemplateName": TEMPLATE_NAME,
            "nfc": state.nfc,
            "barcode": None,
            "latestMessage": state.latest_message,
            "passContent": {key: {"value": text} for key, text in content.items()},
        },
    }


# --- taking a request apart ------------------------------------------------------------------------


def _find(service: Service, key: str) -> Pass:
    try:
        return service.find(key)
    except UnknownPassError as error:
        raise ApiError(404, "there is no such pass") from error


def _object(value: Any, name: str, status: int) -> Json:
    if not isinstance(value, dict):
        raise ApiError(status, f"{name} is a JSON object")
    return value


def _message(body: Json, status: int) -> str | None:
    message = body.get("message")
    if message is None:
        return None
    if not isinstance(message, str) or len(message) not in MESSAGE_LENGTH:
        raise ApiError(status, f"message has {MESSAGE_LENGTH[0]} to {MESSAGE_LENGTH[-1]} characters")
    return message


def _content(
    service: Service, content: Json, pass_id: str | None, ext_id: str | None
) -> tuple[dict[str, str], str | None]:
    fields: dict[str, str] = {}
    nfc: str | None = None
    for key, given in content.items():
        if key == "nfc":
            nfc = _nfc(_object(given, "pass.nfc", 400), pass_id, ext_id)
            continue
        if key == POINTS_FIELD:
            raise ApiError(400, f"pass.{key} shows the balance; write it through /loyalty")
        if key not in service.fields:
            raise ApiError(400, f"the template has no key {key[:60]!r}; it has {', '.join(service.fields)}")
        text = given.get("value") if isinstance(given, dict) else given
        if not isinstance(text, str) or len(text) > FIELD_LENGTH:
            raise ApiError(
                400, f'pass.{key} is a text of at most {FIELD_LENGTH} characters, or {{"value": text}}'
            )
        fields[key] = text
    return fields, nfc


def _nfc(nfc: Json, pass_id: str | None, ext_id: str | None) -> str | None:
    match nfc.get("source", "uuid"):
        case "uuid":
            return pass_id
        case "extId" if ext_id:
            return ext_id
        case "custom":
            value = nfc.get("value")
            if isinstance(value, str) and 1 <= len(value) <= MAX_ID and value.isprintable():
                return value
    raise ApiError(400, "pass.nfc.source is uuid, extId, or custom with a printable value")


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= most):
        raise ApiError(400, f"{name} is a whole number from 1 to {most}")
    return int(text)


def _time(query: Mapping[str, str], name: str, default: float) -> float:
    text = query.get(name)
    if text is None:
        return default
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ApiError(400, f"{name} is a time in ISO 8601") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
