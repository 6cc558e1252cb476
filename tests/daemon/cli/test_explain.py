"""`tilltap explain`: a manager asks why, and reads the answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "config" / "examples"


@pytest.mark.parametrize(
    ("file", "asked", "code", "said"),
    [
        (
            "smallest",
            "--balance 5 --total 8 --redeem five-off",
            0,
            [
                "Total 8.00, discount 5.00, due 3.00 GBP.",
                "Balance 5 - 5 spent + 0 earned = 0.",
                "Why: £5 off given (5.00 off, 5 points spent); 3.00 paid: no full 10.00, so 0 points earned.",
                "Phone: You've used your £5 off discount!",
                "Receipt: 0 points earned. Balance: 0",
            ],
        ),
        (
            "smallest",
            "--balance 5 --total 8",
            0,
            [
                "Total 8.00, discount 0.00, due 8.00 GBP.",
                "Balance 5 - 0 spent + 0 earned = 5.",
                "Why: 8.00 paid: no full 10.00, so 0 points earned.",
                "Offered: Would you like to get £5 off on this order? (--redeem five-off)",
                "Phone: no message.",
                "Receipt: 0 points earned. Balance: 5",
            ],
        ),
        (
            "stamps",
            "--balance 0 --total 5",
            0,
            [
                "Total 5.00, discount 0.00, due 5.00 GBP.",
                "Balance 0 - 0 spent + 1 earned = 1.",
                "Why: 5.00 paid: 1 stamp for the visit, so 1 stamp earned.",
                "Not offered: a free coffee needs 10 stamps (the balance is 0).",
                "Phone: Thank you! You have 1 stamp at soho.",
                "Receipt: 1 stamp earned. Balance: 1",
            ],
        ),
        (
            "smallest",
            "--balance 2 --total 0 --redeem five-off",
            1,
            [
                "No: £5 off needs 5 points (the balance is 2) and an order of at least 0.01 (this one is 0.00).",
            ],
        ),
    ],
)
def test_the_rules_are_explained(file: str, asked: str, code: int, said: list[str]) -> None:
    command = [sys.executable, "-m", "tilltap", "explain", "--config", str(EXAMPLES / f"{file}.toml")]
    done = subprocess.run([*command, *asked.split()], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (code, said, "")
