"""REFERENCE.md and the JSON schema, written from the model's own descriptions.

`python -m tilltap.config.document` rewrites both in `config/`; a test fails when they differ from the model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tilltap.config.model import File
from tilltap.config.translate import fields, table_of, tables

FOLDER = Path(__file__).parents[3] / "config"

_PREAMBLE = """\
# Configuration reference

Written by `python -m tilltap.config.document` from the model that checks the file: change it there.
[tilltap.toml](tilltap.toml) explains the same keys in place, [examples/](examples/) has files to start from.

One TOML file: `--config FILE`, else `$TILLTAP_CONFIG`, else `/etc/tilltap/tilltap.toml`.
`[program.earn]` and `[loyalty]` are needed; everything else has a default.
Unknown keys are mistakes, and no value is taken for what it is not: an amount of money is a decimal string
in the programme's currency, never a number.
Relative paths are relative to the file's folder.

A file with a secret must have no permission for group or others (`chmod 600`) and belong to root or the
daemon's user. A bare name is looked up in `$CREDENTIALS_DIRECTORY` first.

`tilltap check FILE` prints every mistake as `FILE:LINE: key: what is wrong (hint)`. Places in a list are
counted from 1: `reader[2].port` is the port of the second `[[reader]]`.

`SIGHUP` takes up changes in `[program]` (but `currency`) and in the readers; other changes need a restart.
"""


def reference() -> str:
    """The text of REFERENCE.md."""
    definitions = File.model_json_schema()["$defs"]
    sections = (_section(header, model, definitions[model.__name__]) for header, model in tables() if header)
    return _PREAMBLE + "".join(sections)


def _section(header: str, model: type[BaseModel], definition: dict[str, Any]) -> str:
    properties, required = definition["properties"], definition.get("required", [])
    keys = [name for name, field in fields(model).items() if table_of(field) is None]
    text = f"\n## `{header}`\n\n{_words(model.__doc__ or '')}\n"
    if keys:
        text += "\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n"
    for key in keys:
        schema = _without_null(properties[key])
        default = "**needed**" if key in required and "const" not in schema else _default(properties[key])
        text += f"| `{key}` | {_kind(schema)} | {default} | {_words(schema.get('description', ''))} |\n"
    return text


def _kind(schema: dict[str, Any]) -> str:
    """What may be written, in words."""
    options = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if options:
        return ", ".join(f"`{_toml(option)}`" for option in options)
    if "not" in schema:
        return "–"
    if "anyOf" in schema:
        return ", or ".join(_kind(option) for option in schema["anyOf"])
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    limits = f" from {low} to {schema['maximum']}" if low is not None else ""
    words = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "string": "text"}
    kind = "amount" if "[0-9]{1,9}" in schema.get("pattern", "") else words[schema["type"]]
    return kind + limits


def _default(schema: dict[str, Any]) -> str:
    return "–" if schema.get("default") is None else f"`{_toml(schema['default'])}`"


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def schema() -> str:
    """The text of tilltap.schema.json, with which editors complete and check while one types."""
    body = _tidy(File.model_json_schema())
    body = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "tilltap.toml", **body}
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _tidy(schema: Any) -> Any:
    """Without generated titles, nulls (TOML has none) and line breaks in descriptions."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: value for key, value in _without_null(schema).items() if not _is_noise(key, value)}
    return {
        key: _words(value) if key == "description" and isinstance(value, str) else _tidy(value)
        for key, value in schema.items()
    }


def _is_noise(key: str, value: object) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """`anyOf: [X, null]` -> X."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **options[0]}


def _words(text: str) -> str:
    return " ".join(text.split())


def write(folder: Path) -> None:
    (folder / "REFERENCE.md").write_text(reference(), encoding="utf-8")
    (folder / "tilltap.schema.json").write_text(schema(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
