"""Mutation testing: change one thing in the code, run its tests, and expect them to fail.

    python tests/tools/mutate.py                      the wallets' protocols, all mutants
    python tests/tools/mutate.py ndef vas             only these modules
    python tests/tools/mutate.py --every 5            a fifth of them, for a quick look

Every mutant runs in a process forked from one that has imported the libraries already: first the module's own
test file, and, if that passes, all tests of the package but the fuzzing. Prints what survived as
`module:line: was -> became`, then the share that was killed; exit code 1 below `--target` per cent.

What is not mutated: words for people (docstrings, messages of errors), annotations, decorators, and
`__repr__`. Modules without parsing or crypto (`errors`, `words`) and the simulated phones are left out.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "tilltap_drivers.nfc"
SOURCES = ROOT / "drivers" / "tilltap_drivers" / "nfc"
TESTS = ROOT / "tests" / "drivers" / "nfc"
LEFT_OUT = {"__init__", "errors", "words"}

# Seconds of the processor for one mutant: its tests take four; one that runs on has been noticed. The clock says
# little on a busy machine, so it only ends a mutant that sleeps.
PROCESSOR = 40
PATIENCE = 600

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def spots(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that may be changed, in an order that is the same for every copy of the tree."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Raise) or (isinstance(node, ast.FunctionDef) and node.name == "__repr__"):
            if isinstance(node, ast.Raise):
                yield node
            continue
        yield node
        todo.extend(reversed(list(_parts(node))))


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or isinstance(
            node, ast.Import | ast.ImportFrom
        ):
            continue
        if isinstance(node, ast.ClassDef) and name in ("bases", "keywords"):
            continue
        for part in value if isinstance(value, list) else [value]:
            words = isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
            typing = (
                isinstance(part, ast.Assign)
                and isinstance(part.value, ast.Subscript)
                and part.col_offset == 0
            )
            if isinstance(part, ast.AST) and not words and not typing:
                yield part


def changes(node: ast.AST) -> Iterator[str]:
    """The names of what `apply` can do to this node."""
    if (isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS) or (
        isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS
    ):
        yield "swap"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | bytes | str):
        yield "constant"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "without not"
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "negate"
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "return None"
    elif isinstance(node, ast.Raise):
        yield "pass"
    elif isinstance(node, ast.Continue):
        yield "break"
    elif isinstance(node, ast.Slice):
        yield from (f"without {side}" for side in ("lower", "upper") if getattr(node, side) is not None)
    if isinstance(node, ast.AugAssign | ast.Expr):
        yield "pass"


def apply(tree: ast.Module, place: int, change: str) -> tuple[ast.Module, str, str]:
    """A changed copy of the tree, and the changed node's text before and after."""
    mutant = copy.deepcopy(tree)
    node = list(spots(mutant))[place]
    before = ast.unparse(node)
    changed = _changed(node, change)
    if changed is not node:
        for parent in ast.walk(mutant):
            for name, value in ast.iter_fields(parent):
                if value is node:
                    setattr(parent, name, changed)
                elif isinstance(value, list) and any(part is node for part in value):
                    setattr(parent, name, [changed if part is node else part for part in value])
    ast.fix_missing_locations(mutant)
    return mutant, before, ast.unparse(changed)


def _changed(node: ast.AST, change: str) -> ast.AST:
    if change == "pass":
        return ast.Pass()
    if change == "break":
        return ast.Break()
    if isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()  # type: ignore[assignment]
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign):
        node.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Constant):
        node.value = _other(node.value)
    elif isinstance(node, ast.UnaryOp):
        return node.operand
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Return):
        node.value = ast.Constant(None)
    elif isinstance(node, ast.Slice):
        setattr(node, change.split()[1], None)
    return node


def _other(value: object) -> bool | int | bytes | str:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes):
        return value + b"X" if not value else bytes((value[0] ^ 1,)) + value[1:]
    return f"X{value}"


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a tree instead of its file."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name, path=None, target=None):
        return (
            importlib.util.spec_from_loader(name, self, origin=str(self.path)) if name == self.name else None
        )

    def exec_module(self, module) -> None:
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


def passes(module: str, tree: ast.Module) -> bool:
    """Whether the tests are content with the mutant; in a process of its own."""
    import pytest

    sys.meta_path.insert(0, Mutated(f"{PACKAGE}.{module}", SOURCES / f"{module}.py", tree))
    quiet = ["-x", "-q", "--no-header", "-p", "no:cacheprovider"]
    quiet += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # imported before, on purpose
    own = TESTS / f"test_{module}.py"
    if own.exists() and pytest.main([*quiet, str(own)]) != 0:
        return False
    return pytest.main([*quiet, str(TESTS), "--ignore", str(TESTS / "test_fuzz.py")]) == 0


def run(module: str, tree: ast.Module) -> int:
    """Fork; the child's exit code is 0 if the mutant survived."""
    child = os.fork()
    if child:
        return child
    void = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(void, number)
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    survived = False
    try:
        survived = passes(module, tree)
    finally:
        os._exit(0 if survived else 1)


def mutants(module: str) -> Iterator[tuple[ast.Module, str]]:
    """(tree, description) of every mutant of a module."""
    tree = ast.parse((SOURCES / f"{module}.py").read_text())
    for place, node in enumerate(spots(tree)):
        for change in changes(node):
            mutant, before, after = apply(tree, place, change)
            line = getattr(node, "lineno", 0)
            yield mutant, f"{module}:{line}: {_short(before)} -> {_short(after)}"


def _short(text: str) -> str:
    first = text.splitlines()[0] if text else ""
    return first if len(first) < 90 else first[:87] + "..."


def warm() -> None:
    """What every child needs, imported once."""
    import hypothesis.strategies  # noqa: F401
    import pytest  # noqa: F401

    sys.path[:0] = [str(ROOT / "drivers"), str(ROOT / "tests")]
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = sorted(path.stem for path in SOURCES.glob("*.py") if path.stem not in LEFT_OUT)
    options.add_argument("modules", nargs="*", metavar="module", help=", ".join(every))
    options.add_argument("--every", type=int, default=1, help="take only one mutant in so many")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("--target", type=float, default=90.0, help="per cent that must be killed")
    chosen = options.parse_args()
    modules = chosen.modules or every
    warm()
    untouched = run(modules[0], ast.parse((SOURCES / f"{modules[0]}.py").read_text()))
    if os.waitpid(untouched, 0)[1]:
        print("the tests fail without any change; mend that first", file=sys.stderr)
        return 2
    killed, total, ran_on = Counter[str](), Counter[str](), Counter[str]()
    running: dict[int, tuple[str, str, float]] = {}
    todo = ((module, *mutant) for module in modules for mutant in list(mutants(module))[:: chosen.every])
    left = True
    while left or running:
        while left and len(running) < chosen.jobs:
            if (entry := next(todo, None)) is None:
                left = False
                break
            module, tree, text = entry
            running[run(module, tree)] = (module, text, time.monotonic() + PATIENCE)
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            _stop_the_hanging(running)
            time.sleep(0.01)
            continue
        module, text, _ = running.pop(child)
        total[module] += 1
        killed[module] += status != 0
        ran_on[module] += os.WIFSIGNALED(status)
        if status == 0:
            print(f"survived  {text}", flush=True)
    return _report(killed, total, ran_on, chosen.target)


def _stop_the_hanging(running: dict[int, tuple[str, str, float]]) -> None:
    for child, (_, _, until) in running.items():
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)


def _report(killed: Counter[str], total: Counter[str], ran_on: Counter[str], target: float) -> int:
    for module in total:
        endless = f", {ran_on[module]} because they ran on" if ran_on[module] else ""
        print(f"{module:16} {killed[module]:4} of {total[module]:4} killed{endless}")
    share = 100 * killed.total() / max(1, total.total())
    print(
        f"{'together':16} {killed.total():4} of {total.total():4} killed: {share:.1f} % (target {target:g} %)"
    )
    return 0 if share >= target else 1


if __name__ == "__main__":
    sys.exit(main())
