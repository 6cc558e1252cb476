"""Message templates: text with the placeholders of contract section 2, parsed once, rendered by value.

Not `str.format`: a template comes from a file and must not reach attributes, indexes or format specs.
`{{` and `}}` stand for one brace.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

PLACEHOLDERS = ("earned", "points", "reward", "balance", "store")
# What {points} is called where the number before it is the balance: "3 stamps" of which "1 stamp" is new.
POINTS_OF_BALANCE = "points of balance"

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_KNOWN = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)


class TemplateError(ValueError):
    """A template that cannot be rendered; names the placeholder or brace, and the remedy in brackets."""


@dataclass(frozen=True, slots=True)
class Template:
    """`parts` are `(literal, placeholder)` in order; a placeholder of "" ends the text."""

    parts: tuple[tuple[str, str], ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for _, name in self.parts if name)

    def render(self, values: Mapping[str, str | int]) -> str:
        """The text with every placeholder replaced; KeyError if `values` lacks one that is used."""
        return "".join(literal + (str(values[name]) if name else "") for literal, name in self.parts)


# A programme has seven templates; the rest is room for the programmes that open sales were opened under.
@lru_cache(maxsize=256)
def parse(text: str) -> Template:
    """TemplateError with the first of `problems(text)`."""
    for problem in problems(text):
        raise TemplateError(problem)
    parts: list[tuple[str, str]] = []
    literal, end, number = "", 0, "earned"
    for token in _TOKEN.finditer(text):
        literal += text[end : token.start()]
        end = token.end()
        name = token.group(1)
        if name is None:
            literal += token.group()[0]
        else:
            number = name if name in ("earned", "balance") else number
            of_balance = name == "points" and number == "balance"
            parts.append((literal, POINTS_OF_BALANCE if of_balance else name))
            literal = ""
    return Template((*parts, (literal + text[end:], "")))


def render(template: str | Template, values: Mapping[str, str | int]) -> str:
    """`render("{earned} {points}", {"earned": 2, "points": "points"})` -> `"2 points"`; errors as `parse`."""
    return (parse(template) if isinstance(template, str) else template).render(values)


def problems(text: str) -> Iterator[str]:
    """Everything wrong with a template, in reading order, each as `what (remedy)` on one line."""
    for token in _TOKEN.finditer(text):
        name = token.group(1)
        if name is None:
            if len(token.group()) == 1:
                yield f"a single {token.group()} (write {token.group() * 2} for a brace in the text)"
        elif name not in PLACEHOLDERS:
            yield f"unknown placeholder {{{_shown(name)}}} ({_remedy(name)})"


def _remedy(name: str) -> str:
    plain = re.match(r"\w*", name.strip())
    word = plain.group() if plain else ""
    if word in PLACEHOLDERS:
        return f"write {{{word}}}, without anything else in the braces"
    near = difflib.get_close_matches(word.lower(), PLACEHOLDERS, n=1)
    return f"did you mean {{{near[0]}}}?" if near else f"known: {_KNOWN}"


def _shown(name: str) -> str:
    """The name as it may stand in a one-line message."""
    short = name if len(name) <= 40 else name[:37] + "..."
    return short if short.isprintable() else ascii(short)[1:-1]
