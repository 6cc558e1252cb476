from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tilltap.templates import PLACEHOLDERS, TemplateError, parse, problems, render

# How long an example takes says nothing on a machine that runs other tests beside it.
UNHURRIED = hypothesis_settings(deadline=None)

VALUES = {"earned": 2, "points": "points", "reward": "£5 off", "balance": 7, "store": "soho"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("Thank you!", "Thank you!"),
        ("You've earned {earned} {points}!", "You've earned 2 points!"),
        ("{balance}", "7"),
        ("{store}{store}", "sohosoho"),
        ("{{earned}}", "{earned}"),
        ("{{{earned}}}", "{2}"),
        ("a }} b {{ c", "a } b { c"),
        ("line one\n{reward}", "line one\n£5 off"),
    ],
)
def test_renders(template, text):
    assert render(template, VALUES) == text
    assert parse(template).render(VALUES) == text


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{erned}", ["unknown placeholder {erned} (did you mean {earned}?)"]),
        ("{Points}", ["unknown placeholder {Points} (did you mean {points}?)"]),
        ("{name}", ["unknown placeholder {name} (known: {earned} {points} {reward} {balance} {store})"]),
        ("{}", ["unknown placeholder {} (known: {earned} {points} {reward} {balance} {store})"]),
        (
            "{earned.__class__}",
            ["unknown placeholder {earned.__class__} (write {earned}, without anything else in the braces)"],
        ),
        (
            "{earned!r}",
            ["unknown placeholder {earned!r} (write {earned}, without anything else in the braces)"],
        ),
        (
            "{earned:>9}",
            ["unknown placeholder {earned:>9} (write {earned}, without anything else in the braces)"],
        ),
        (
            "{store[0]}",
            ["unknown placeholder {store[0]} (write {store}, without anything else in the braces)"],
        ),
        (
            "{ earned }",
            ["unknown placeholder { earned } (write {earned}, without anything else in the braces)"],
        ),
        ("a { b", ["a single { (write {{ for a brace in the text)"]),
        ("a } b", ["a single } (write }} for a brace in the text)"]),
        ("{earned", ["a single { (write {{ for a brace in the text)"]),
        (
            "{erned} } {pionts}",
            [
                "unknown placeholder {erned} (did you mean {earned}?)",
                "a single } (write }} for a brace in the text)",
                "unknown placeholder {pionts} (did you mean {points}?)",
            ],
        ),
    ],
)
def test_names_every_problem(template, expected):
    assert list(problems(template)) == expected
    with pytest.raises(TemplateError) as caught:
        parse(template)
    assert str(caught.value) == expected[0]


def test_a_value_is_never_read_as_a_template():
    assert render("{reward}", {**VALUES, "reward": "{balance} {nonsense}"}) == "{balance} {nonsense}"


@UNHURRIED
@given(st.text(alphabet=st.one_of(st.sampled_from("{}!.:[]\n"), st.characters())))
def test_any_text_parses_or_says_why_on_one_line(text):
    said = list(problems(text))
    if said:
        assert all(line.isprintable() for line in said)
    else:
        assert set(parse(text).names) <= set(PLACEHOLDERS)
        render(text, VALUES)


@UNHURRIED
@given(st.text())
def test_escaped_text_renders_to_itself(text):
    assert render(text.replace("{", "{{").replace("}", "}}"), {}) == text
