"""Whatever valid TOML comes in, every key is found on the line where it was written."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tilltap.config.positions import scan

# How long an example takes says nothing on a machine that runs other tests beside it.
UNHURRIED = hypothesis_settings(deadline=None)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", {}),
        ("a = 1\n# b = 2\nb = 3", {("a",): 1, ("b",): 3}),
        ("\n\n[t]\nx = 1\n[t.u]\ny = 2", {("t",): 3, ("t", "x"): 4, ("t", "u"): 5, ("t", "u", "y"): 6}),
        ("[t.u]\n[t]", {("t",): 2, ("t", "u"): 1}),
        (
            "[[r]]\nx = 1\n[[r]]\nx = 2\n[r.s]\ny = 3",
            {
                ("r",): 1,
                ("r", 0): 1,
                ("r", 0, "x"): 2,
                ("r", 1): 3,
                ("r", 1, "x"): 4,
                ("r", 1, "s"): 5,
                ("r", 1, "s", "y"): 6,
            },
        ),
        (
            "[[a]]\n[[a.b]]\n[[a.b]]\n[[a]]\n[[a.b]]",
            {
                ("a",): 1,
                ("a", 0): 1,
                ("a", 0, "b"): 2,
                ("a", 0, "b", 0): 2,
                ("a", 0, "b", 1): 3,
                ("a", 1): 4,
                ("a", 1, "b"): 5,
                ("a", 1, "b", 0): 5,
            },
        ),
        ("a.b.c = 1\na.d = 2", {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1, ("a", "d"): 2}),
        ('"a.b" = 1\n\'c\' . "d\\u0041" = 2', {("a.b",): 1, ("c",): 2, ("c", "dA"): 2}),
        ('["x y"]\n"" = 1', {("x y",): 1, ("x y", ""): 2}),
        (
            "p = { q = 1, r.s = {t = 2} }\nz = 1",
            {
                ("p",): 1,
                ("p", "q"): 1,
                ("p", "r"): 1,
                ("p", "r", "s"): 1,
                ("p", "r", "s", "t"): 1,
                ("z",): 2,
            },
        ),
        (
            "k = [\n 1, # one\n [2, 3],\n {m = 4}, ]\nz = 5",
            {
                ("k",): 1,
                ("k", 0): 2,
                ("k", 1): 3,
                ("k", 1, 0): 3,
                ("k", 1, 1): 3,
                ("k", 2): 4,
                ("k", 2, "m"): 4,
                ("z",): 5,
            },
        ),
        ('a = """\n[no]\nb = 1\n"""\nc = 1', {("a",): 1, ("c",): 5}),
        ('a = """x"""""\nb = """"""\nc = """"q\\""""\nd = 1', {("a",): 1, ("b",): 2, ("c",): 3, ("d",): 4}),
        ("a = '''\n'' x''''\nb = 1", {("a",): 1, ("b",): 3}),
        ('a = "# [x] \\" = {" # " \nb = \'#"\'', {("a",): 1, ("b",): 2}),
        ("d = 1979-05-27 07:32:00.5\n3.14 = 1.5", {("d",): 1, ("3",): 2, ("3", "14"): 2}),
        ("a = 1\r\n\r\nb = 2\r\n", {("a",): 1, ("b",): 3}),
    ],
)
def test_lines(text, lines):
    tomllib.loads(text)
    assert scan(text).lines == lines


def test_the_nearest_parent_answers_for_a_key_that_is_not_there():
    positions = scan("[a]\n\n[[a.b]]\nx = 1\n")
    assert positions.line(("a", "b", 0, "missing")) == 3
    assert positions.line(("a", "z", "y")) == 1
    assert positions.line(("nowhere",)) == 1


def test_only_what_opens_a_table_is_its_header():
    positions = scan("\n[a.b]\nc.d = 1\ne = {f = 1}\n[[g]]\n")
    assert positions.table_line(("a", "b")) == 2
    assert positions.table_line(("a", "b", "e")) == 4
    assert positions.table_line(("g", 0)) == 5
    assert positions.table_line(("a",)) == 1
    assert positions.table_line(("a", "b", "c")) == 1


# --- made TOML ------------------------------------------------------------------------------------------

KEYS = st.one_of(st.sampled_from(["a", "b", "c-1", "22"]), st.text(st.characters(codec="utf-8"), max_size=4))
SCALARS = st.one_of(
    st.integers(-(2**40), 2**40), st.booleans(), st.text(st.characters(codec="utf-8"), max_size=12)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


class Table(dict):
    """Written with a header of its own."""


class Tables(list):
    """Written as an array of tables."""


def nested(inner):
    tables = inner.map(Table)
    return st.one_of(VALUES, tables, st.lists(tables, min_size=1, max_size=3).map(Tables))


TABLES = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=3),
    lambda inner: st.dictionaries(KEYS, nested(inner), max_size=3),
    max_leaves=6,
)


class Writer:
    """Writes TOML and notes the line of everything it writes, in a form chosen by `draw`."""

    def __init__(self, draw):
        self.draw, self.out, self.line, self.lines = draw, [], 1, {}

    def put(self, text):
        self.out.append(text)
        self.line += text.count("\n")

    def noise(self):
        for _ in range(self.draw(st.integers(0, 2))):
            self.put(self.draw(st.sampled_from(["\n", "# [x] = '\n", "  \t\n", '#"""\n'])))

    def key(self, key):
        if key and all(c.isascii() and (c.isalnum() or c in "-_") for c in key) and self.draw(st.booleans()):
            return key
        if "'" not in key and key.isprintable() and self.draw(st.booleans()):
            return f"'{key}'"
        return basic(key)

    def header(self, path):
        return self.draw(st.sampled_from([".", " . "])).join(self.key(k) for k in path if isinstance(k, str))

    def table(self, table, path):
        nested = {}
        for key, value in table.items():
            if isinstance(value, Table | Tables):
                nested[key] = value
                continue
            self.noise()
            self.lines[*path, key] = self.line
            self.put(f"{self.key(key)} = ")
            self.value(value, (*path, key))
            self.put(self.draw(st.sampled_from(["\n", " # = [\n", "\r\n"])))
        for key, value in nested.items():
            self.noise()
            self.lines[*path, key] = self.line
            if isinstance(value, Tables):
                for index, element in enumerate(value):
                    self.noise()
                    self.lines.setdefault((*path, key), self.line)
                    if index == 0:
                        self.lines[*path, key] = self.line
                    self.lines[*path, key, index] = self.line
                    self.put(f"[[{self.header((*path, key))}]]\n")
                    self.table(element, (*path, key, index))
            else:
                self.put(f"[{self.header((*path, key))}]\n")
                self.table(value, (*path, key))

    def value(self, value, path):
        if isinstance(value, bool):
            self.put(str(value).lower())
        elif isinstance(value, int):
            self.put(str(value))
        elif isinstance(value, str):
            self.put(self.string(value))
        elif isinstance(value, list):
            self.put("[")
            for index, element in enumerate(value):
                self.put(self.draw(st.sampled_from(["", "\n", " # ]\n "])))
                self.lines[*path, index] = self.line
                self.value(element, (*path, index))
                self.put(self.draw(st.sampled_from([",", "\n,"])))
            self.put("]")
        else:
            self.put("{")
            for index, (key, element) in enumerate(value.items()):
                self.put(", " if index else " ")
                self.lines[*path, key] = self.line
                self.put(f"{self.key(key)} = ")
                self.value(element, (*path, key))
            self.put(" }")

    def string(self, text):
        form = self.draw(st.sampled_from(["basic", "literal", "multi", "multi-literal"]))
        plain = all(c.isprintable() or c == "\n" for c in text)
        if form == "literal" and plain and "'" not in text and "\n" not in text:
            return f"'{text}'"
        if form == "multi" and plain:
            escaped = text.replace("\\", "\\\\").replace('"""', '""\\"')
            return f'"""\n{escaped}"""' if not escaped.endswith('"""') else basic(text)
        if form == "multi-literal" and plain and "'''" not in text:
            return f"'''\n{text}'''"
        return basic(text)


def basic(text):
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@UNHURRIED
@given(TABLES, st.data())
def test_made_toml(table, data):
    writer = Writer(data.draw)
    writer.table(table, ())
    text = "".join(writer.out)
    assert tomllib.loads(text) == table  # the writer writes what it means
    assert scan(text).lines == writer.lines


@UNHURRIED
@given(st.text(st.one_of(st.sampled_from("[]{}=,.'\"\\\n#ab \t\r"), st.characters())))
def test_any_text_ends_with_lines_of_its_own(text):
    found = scan(text)
    assert found.headers <= found.lines.keys()
    assert all(1 <= line <= 1 + text.count("\n") for line in found.lines.values())


@pytest.mark.parametrize("opening", ["[", "{b="])
def test_deep_nesting_ends(opening):
    found = scan(f"z = 1\na = {opening * 100_000}")
    assert (found.lines["z",], found.lines["a",]) == (1, 2)


def test_a_million_characters_take_no_time():
    text = "".join(f'[t{n}]\nk = "{"x" * 40}" # c\n' for n in range(20_000))
    assert len(scan(text).lines) == 40_000
    assert scan('a = """' + '"' * 2 + "\\" * 500_001).lines == {("a",): 1}
