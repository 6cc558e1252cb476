"""The README's example runs, and its table of reasons is whole."""

import re
from pathlib import Path

from tilltap_drivers import nfc
from tilltap_drivers.nfc import words

README = (Path(nfc.__file__).parent / "README.md").read_text()


def test_the_example(capsys):
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(code, {})
    printed = capsys.readouterr().out.strip()
    assert f"`{printed}`" in README


def test_every_reason_is_listed():
    assert all(f"`{reason}`" in README for reason in words._TELL)


def test_every_module_is_listed():
    modules = {path.stem for path in Path(nfc.__file__).parent.glob("*.py")} - {"__init__"}
    assert all(f"`{name}`" in README for name in modules)
