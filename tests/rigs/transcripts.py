"""Conversations in a document, executed: what it shows a POS developer is what the daemon says.

A block fenced with "```transcript" is one connection:

    -> {"jsonrpc":"2.0","id":1,"method":"status"}          sent, exactly as it stands
    ** customer cust-17 taps                               something that happens elsewhere: `acts` does it
    <- {"jsonrpc":"2.0","id":1,"result":{"state":"…", …}}  must come; neighbouring `<-` lines in any order
    <- closed                                              the daemon closes

In what is expected `…` stands for any value, for any part of a string, for any members of a list, and in an object
for members not shown; everything else must be there exactly. A long line may go on in lines indented by three
spaces or more. Events of a kind that a block does not show are passed over, as a client would do. Words after
"transcript" are tags to choose blocks by.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigs.pos import Pos

ANY = "…"
_BLOCK = re.compile(r"^```transcript([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    line: int
    kind: str  # -> <- **
    text: str


@dataclass(frozen=True)
class Transcript:
    line: int
    tags: frozenset[str]
    steps: tuple[Step, ...]


def parse(text: str) -> list[Transcript]:
    """Every transcript of a document; ValueError for a line that is none of the four kinds."""
    found = []
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start()) + 1
        steps: list[Step] = []
        for number, line in enumerate(block[2].splitlines(), first + 1):
            if line.startswith("   ") and steps:
                steps[-1] = Step(steps[-1].line, steps[-1].kind, steps[-1].text + line.strip())
            elif line[:3] in {"-> ", "<- ", "** "}:
                steps.append(Step(number, line[:2], line[3:].strip()))
            elif line.strip():
                raise ValueError(f"line {number}: no transcript line: {line}")
        found.append(Transcript(first, frozenset(block[1].split()), tuple(steps)))
    return found


def run_transcripts(
    path: Path, connect: Callable[[], Pos], acts: Callable[[str], object] | None = None, *, tag: str = ""
) -> int:
    """Plays the transcripts of `path` one after another (all, or those with `tag`); returns how many.

    AssertionError names the document's line, what it expects and what came.
    """
    chosen = [t for t in parse(path.read_text(encoding="utf-8")) if not tag or tag in t.tags]
    for transcript in chosen:
        with connect() as pos:
            _play(transcript, pos, acts, path.name)
    return len(chosen)


def _play(transcript: Transcript, pos: Pos, acts: Callable[[str], object] | None, name: str) -> None:
    shown = {None} | {
        pattern(s.text).get("method") for s in transcript.steps if s.kind == "<-" and s.text != "closed"
    }
    came = (line for line in iter(pos.read, None) if line.get("method") in shown)
    awaited: list[Step] = []
    for step in transcript.steps:
        if step.kind == "<-" and step.text != "closed":
            awaited.append(step)
            continue
        _expect(awaited, came, name)
        awaited = []
        if step.kind == "->":
            pos.send(step.text.encode() + b"\n")
        elif step.kind == "**":
            assert acts is not None, f"{name}:{step.line}: nobody can do this: {step.text}"
            acts(step.text)
        else:
            rest = pos.read_all()
            assert rest == [], f"{name}:{step.line}: expected the end, came {rest}"
    _expect(awaited, came, name)
    while not pos.idle(0.05):
        more = pos.read()
        assert more.get("method") not in shown, f"{name}:{transcript.line}: came beside what is shown: {more}"


def _expect(steps: list[Step], lines: Iterator[dict[str, Any]], name: str) -> None:
    waiting = [(step, pattern(step.text)) for step in steps]
    for _ in steps:
        try:
            came = next(lines)
        except (TimeoutError, EOFError) as problem:
            first = waiting[0][0]
            raise AssertionError(f"{name}:{first.line}: nothing came for\n  {first.text}") from problem
        fits = next((w for w in waiting if matches(w[1], came)), None)
        if fits is None:
            shown = "\n  ".join(step.text for step, _ in waiting)
            line = waiting[0][0].line
            raise AssertionError(
                f"{name}:{line}: came\n  {json.dumps(came, ensure_ascii=False)}\nfor\n  {shown}"
            )
        waiting.remove(fits)


def pattern(text: str) -> Any:
    """JSON in which `…` may stand bare."""
    text = re.sub(r"([{,]\s*)…(\s*})", rf'\1"{ANY}":"{ANY}"\2', text)
    text = re.sub(r"([\[,:]\s*)…(\s*[\],}])", rf'\1"{ANY}"\2', text)
    return json.loads(text)


def matches(expected: Any, came: Any) -> bool:
    if expected == ANY:
        return True
    if isinstance(expected, str) and ANY in expected:
        parts = map(re.escape, expected.split(ANY))
        return isinstance(came, str) and re.fullmatch(".*".join(parts), came, re.DOTALL) is not None
    if isinstance(expected, dict):
        named = expected.keys() - {ANY}
        complete = isinstance(came, dict) and (
            came.keys() >= named if ANY in expected else came.keys() == named
        )
        return complete and all(matches(expected[k], came[k]) for k in named)
    if isinstance(expected, list):
        if expected == [ANY]:
            return isinstance(came, list)
        same = isinstance(came, list) and len(came) == len(expected)
        return same and all(matches(e, c) for e, c in zip(expected, came, strict=True))
    return type(expected) is type(came) and expected == came
