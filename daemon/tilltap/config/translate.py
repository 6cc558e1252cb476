"""What pydantic says of a file, said for a shop's manager. Pure."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tilltap.config.mistakes import Mistake, did_you_mean, key_text, nearest, shown
from tilltap.config.model import READERS, File
from tilltap.config.positions import KeyPath


def mistakes(error: ValidationError) -> list[Mistake]:
    """Every mistake pydantic found; a key that is missing because it is misspelt is one mistake, not two."""
    found = [_mistake(details) for details in error.errors(include_url=False)]
    misspelt = {(*m.path[:-1], m.meant) for m in found if m.meant}
    return [m for m in found if not (m.missing and m.path in misspelt)]


def _mistake(error: ErrorDetails) -> Mistake:
    path, model = _place(error["loc"])
    kind, value, ctx = error["type"], error["input"], error.get("ctx", {})
    if kind == "mistake":
        return Mistake((*path, ctx["key"]) if ctx["key"] else path, ctx["what"], ctx["hint"])
    if kind == "missing":
        return Mistake(path, "is missing", _how_to_write(path, fields(model)[str(path[-1])]), missing=True)
    if kind == "extra_forbidden":
        key, known = str(path[-1]), list(fields(model))
        return Mistake(path, "unknown key", _meant(key, known), meant=nearest(key, known))
    if kind == "literal_error":
        return _choice(path, ctx["expected"], value)
    if kind == "list_type":
        return _not_a_list(path, table_of(fields(model)[str(path[-1])]) is not None, value)
    if kind in ("too_short", "too_long"):
        limit = ctx.get("min_length", ctx.get("max_length"))
        word = "least" if kind == "too_short" else "most"
        return Mistake(path, f"must name at {word} {limit}", f"it names {ctx['actual_length']}")
    if kind == "model_type":
        return _not_a_table(path, value)
    if kind in _LIMITS:
        limit = next(ctx[name] for name in ("ge", "gt", "le", "lt") if name in ctx)
        return Mistake(path, f"must be {_LIMITS[kind]} {limit:.0f}", f"it is {shown(value)}")
    return Mistake(path, *_wrong_type(kind, value, error["msg"]))


_LIMITS = {
    "greater_than_equal": "at least",
    "greater_than": "more than",
    "less_than_equal": "at most",
    "less_than": "less than",
}

_TYPES = {
    "int_type": ("must be a whole number", "such as 5, without quotes or decimals"),
    "float_type": ("must be a number", "such as 1.5, without quotes"),
    "finite_number": ("must be a number", "such as 1.5"),
    "bool_type": ("must be true or false", "without quotes"),
    "string_type": ("must be text in quotes", 'write it as "..."'),
}


def _wrong_type(kind: str, value: object, message: str) -> tuple[str, str]:
    what, hint = _TYPES.get(kind, (message[:1].lower() + message[1:], "see REFERENCE.md"))
    if kind == "int_type" and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
        hint = f"write {value}, without quotes"
    if kind == "bool_type" and isinstance(value, str) and value.lower() in ("true", "false"):
        hint = f"write {value.lower()}, without quotes"
    if kind == "string_type" and isinstance(value, int):
        hint = f'write "{shown(value)}"'
    return what, hint


def _choice(path: KeyPath, expected: str, value: object) -> Mistake:
    """`expected` is pydantic's list of literals: `'ask' or 'automatic'`."""
    options = re.findall(r"[^\s',]+", expected.replace(" or ", " "))
    quote = '"' if "'" in expected else ""
    known = ", ".join(f"{quote}{option}{quote}" for option in options)
    if len(options) == 1:
        return Mistake(path, f"can only be {known}", f"it is {_quoted(value)}")
    near = did_you_mean(value, options) if isinstance(value, str) else None
    return Mistake(path, f"must be one of {known}", near or f"it is {_quoted(value)}")


def _quoted(value: object) -> str:
    return shown(value) if isinstance(value, str | int | float) else "something else"


def _not_a_list(path: KeyPath, of_tables: bool, value: object) -> Mistake:
    if of_tables:
        hint = f"write [[{key_text(path)}]], with double brackets"
        return Mistake(path, "there can be several of these", hint)
    example = value if isinstance(value, str) else "..."
    return Mistake(path, "must be a list", f'write ["{shown(example)[1:-1]}"]')


def _not_a_table(path: KeyPath, value: object) -> Mistake:
    name = key_text(tuple(part for part in path if isinstance(part, str)))
    if path and isinstance(path[-1], int):
        return Mistake(path, "must be a table", f"write [[{name}]] on a line of its own, its keys below")
    if isinstance(value, list):
        return Mistake(path, "there is only one such table", f"write [{name}], with single brackets")
    return Mistake(path, "must be a table", f"write [{name}] on a line of its own, its keys below")


def _how_to_write(path: KeyPath, field: FieldInfo) -> str:
    if table_of(field) is not None:
        return f"add a [{key_text(path)}] table"
    example = (field.examples or ["..."])[0]
    return f"write {path[-1]} = " + (
        str(example) if isinstance(example, int) else json.dumps(example, ensure_ascii=False)
    )


def _meant(key: str, known: list[str]) -> str:
    """The key that was probably meant: one of this table, the same of another one, or all there are here."""
    if near := did_you_mean(key, known):
        return near
    if elsewhere := _tables_with(key):
        return "it belongs in " + " or ".join(elsewhere)
    return f"known here: {', '.join(known)}"


def _tables_with(key: str) -> list[str]:
    return [header for header, model in tables() if header and key in fields(model)]


@cache
def tables() -> tuple[tuple[str, type[BaseModel]], ...]:
    """Every table of the file as `(header, model)`, in the file's order; the file itself is ""."""
    found: list[tuple[str, type[BaseModel]]] = [("", File)]

    def visit(model: type[BaseModel], prefix: str) -> None:
        for name, field in fields(model).items():
            key, inner = prefix + name, table_of(field)
            if key == "reader":
                found.extend((f'[[reader]] with driver = "{name}"', r) for name, r in READERS.items())
            elif inner is not None:
                found.append((f"[[{key}]]" if is_list(field) else f"[{key}]", inner))
                visit(inner, f"{key}.")

    visit(File, "")
    return tuple(found)


def fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a table by the name they have in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def is_list(field: FieldInfo) -> bool:
    return getattr(field.annotation, "__origin__", None) is list


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a table or an array of tables."""
    return _model_in(field.annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _place(loc: tuple[str | int, ...]) -> tuple[KeyPath, type[BaseModel]]:
    """The key path of pydantic's `loc`, and the model of the table the last key stands in."""
    if loc[0] == "reader" and len(loc) > 2:  # loc[2] is the tag of the union: the driver
        return (*loc[:2], *loc[3:]), READERS[str(loc[2])]
    model: type[BaseModel] = File
    for part in loc[:-1]:
        if isinstance(part, str):
            model = table_of(fields(model)[part]) or model
    return loc, model
