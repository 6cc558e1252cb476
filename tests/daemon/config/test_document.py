"""What is written about the configuration says what the model does."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tilltap.config.check import check
from tilltap.config.document import FOLDER, reference, schema, write
from tilltap.config.load import load, parse
from tilltap.config.translate import fields, table_of, tables

MANUAL = FOLDER / "tilltap.toml"
AGAIN = "run: python -m tilltap.config.document"
UNAVAILABLE = {"tcp", "token_file"}


def test_reference_is_what_the_model_says():
    assert (FOLDER / "REFERENCE.md").read_text() == reference(), AGAIN


def test_schema_is_what_the_model_says():
    assert (FOLDER / "tilltap.schema.json").read_text() == schema(), AGAIN


def test_write_makes_both(tmp_path):
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"REFERENCE.md", "tilltap.schema.json"}


def test_every_key_is_described():
    text = reference()
    for header, model in tables():
        assert not header or f"## `{header}`" in text
        for key, field in fields(model).items():
            assert field.description or table_of(field), key
            assert table_of(field) or header == "" or f"| `{key}` |" in text


def test_the_schema_allows_what_the_model_allows():
    definitions = json.loads(schema())["$defs"]
    for _, model in tables()[1:]:
        definition = definitions[model.__name__]
        assert set(definition["properties"]) == set(fields(model))
        assert definition["additionalProperties"] is False
        needed = {key for key, field in fields(model).items() if field.is_required()}
        assert set(definition.get("required", [])) == needed


@pytest.mark.parametrize(
    "path", [MANUAL, *sorted(FOLDER.glob("examples/*.toml"))], ids=lambda path: path.name
)
def test_every_file_that_is_shipped_is_good(path, tmp_path):
    """Apart from the key, which is not shipped."""
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    key = tmp_path / "passentry.key"
    key.write_text("sk_test\n")
    key.chmod(0o600)
    assert check(copy) == load(copy)
    assert path.read_text().startswith("#:schema ")
    assert (path.parent / path.read_text().split()[1]).resolve() == FOLDER / "tilltap.schema.json"


def test_the_smallest_is_the_smallest():
    """Taking any table away leaves a file that is refused or useless (contract section 2)."""
    raw = tomllib.loads((FOLDER / "examples" / "smallest.toml").read_text())
    assert set(raw) == {"program", "loyalty", "reader"}
    assert set(raw["program"]) == {"earn", "reward"}
    assert raw["loyalty"] == {}


def test_the_manual_explains_every_key():
    text = MANUAL.read_text()
    for header, model in tables()[1:]:
        for key, field in fields(model).items():
            if table_of(field) is None and key not in UNAVAILABLE:
                assert re.search(rf"(?m)^(# ?)?{key} = ", text), f"{header} {key}"


def test_the_manual_shows_the_defaults():
    """A key commented out without a blank shows its default: written out, nothing changes."""
    text = MANUAL.read_text()
    shown = re.sub(r"(?m)^#(?=[a-z_]+ = )", "", text)
    assert shown != text

    def settings(text):
        return parse(text, file="tilltap.toml", base_dir=Path("/etc/tilltap"), hostname="host")

    assert settings(shown) == settings(text)
