"""`python -m model.explore` (from tests/): searches every setting and every weakened variant, and prints the
stories. `--long`: larger settings, some minutes. `--document FILE`: only renews the table in docs/exactly-once.md.
Exit 1 if anything is not as the table in variants.py says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from model import variants
from model.explorer import Finding, explore
from model.variants import Setting, Variant


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="model.explore", description=__doc__)
    parser.add_argument("--long", action="store_true", help="larger settings too: minutes, and gigabytes")
    parser.add_argument("--document", type=Path, help="renew the table of the variants in this file, only")
    chosen = parser.parse_args(arguments)
    if chosen.document:
        chosen.document.write_text(with_table(chosen.document.read_text()))
        return 0
    settings = [*variants.SETTINGS, *(variants.LONG_SETTINGS if chosen.long else ())]
    print("As built, in every order of events:")
    wrong = sum(not _searched(setting) for setting in settings)
    print("\nLeft out or changed, with the shortest story:")
    wrong += _weakened([*variants.VARIANTS, *variants.BEYOND])
    print("\nLeft out without harm:")
    wrong += _weakened(variants.SPARE)
    print(f"\n{wrong} not as expected" if wrong else "\nall as expected")
    return 1 if wrong else 0


def with_table(document: str) -> str:
    """The page with the table as it is found now."""
    before, rest = document.split(variants.TABLE_BEGINS)
    _, after = rest.split(variants.TABLE_ENDS)
    return f"{before}{variants.TABLE_BEGINS}{variants.table()}{variants.TABLE_ENDS}{after}"


def _searched(setting: Setting) -> bool:
    began = time.monotonic()
    found = explore(setting.model, limit=20_000_000)
    spent = time.monotonic() - began
    verdict = "holds" if found.holds else f"FAILS: {found.fault}"
    print(f"  {verdict:6} {found.states:8d} states {spent:6.1f} s  {setting.name}", flush=True)
    _tell(found)
    return found.holds


def _weakened(chosen: Iterable[Variant]) -> int:
    wrong = 0
    for variant in chosen:
        found = variants.finding(variant.model)
        print(f"  {variant.name}: {found.fault or 'nothing goes wrong'} ({found.states} states)", flush=True)
        _tell(found)
        if found.fault != variant.fault:
            wrong += 1
            print(f"      EXPECTED: {variant.fault or 'nothing goes wrong'}")
    return wrong


def _tell(found: Finding) -> None:
    for number, step in enumerate(found.story, 1):
        print(f"      {number:2d} {step}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
