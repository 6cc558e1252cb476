"""The manager's figures from the outside: sales over the socket, `tilltap report` beside them."""

from __future__ import annotations

import csv
from datetime import datetime
from typing import Any

from rigs.daemon import ANNA, BEN, Shop, run_cli


def told(shop: Shop, *arguments: str) -> tuple[int, list[dict[str, str]], list[str]]:
    code, out, errors = run_cli(
        shop.logs, "report", "--config", str(shop.config), "--csv", *arguments, encoding="utf-8"
    )
    return code, list(csv.DictReader(out.splitlines())), errors


def test_a_day_of_sales(shop: Shop) -> None:
    shop.ask("sale.close", sale_id="1", total="20.00", value=ANNA)
    shop.ask("sale.close", sale_id="2", total="10.00", value=BEN)
    shop.ask("sale.open", sale_id="3", total="8.00", value=BEN)
    shop.ask("sale.accept", sale_id="3", reward="five-off")
    shop.ask("sale.close", sale_id="3", total="8.00", paid="3.00")
    shop.ask("sale.close", sale_id="4", total="4.50", paid="4.00")
    shop.ask("sale.refund", sale_id="1", refund_id="r", amount="12.00")
    shop.ask("customer.adjust", value=ANNA, points=3, reason="a gift", request_id="a")
    shop.ask("sale.open", sale_id="open", total="99.00")
    code, (row,), errors = told(shop)
    assert (code, errors) == (0, [])
    day = row.pop("day")
    expected: dict[str, Any] = {
        "till": shop.till_name,
        "currency": "GBP",
        "sales_with_customer": 3,
        "sales_without_customer": 1,
        "total": "42.50",
        "discounts": "5.00",
        "paid": "37.00",
        "refunds": 1,
        "refunded": "12.00",
        "differing_sales": 1,
        "paid_over": "0.00",
        "paid_under": "0.50",
        "rewards": 1,
        "points_earned": 3,
        "points_spent": 5,
        "points_returned": 0,
        "points_taken_back": 2,
        "points_adjusted": 3,
        "points_changed_by_others": 0,
        "points_opening": 4,
        "below_zero": 0,
        "parked": 0,
    }
    assert row == {name: str(value) for name, value in expected.items()}
    assert told(shop, "--day", day, "--till", shop.till_name)[1] == [{"day": day, **row}]
    began = datetime.fromisoformat(shop.ask("report", day="2020-02-29")["from"])
    assert f"{began.astimezone():%F %R}" == "2020-02-29 04:30"
    (empty,) = told(shop, "--day", "2020-02-29")[1]
    assert (empty["sales_with_customer"], empty["paid"], empty["points_earned"]) == ("0", "0.00", "0")
    assert shop.stop() == 0
    code, rows, errors = told(shop)
    assert (code, rows, len(errors)) == (4, [], 1)
    assert str(shop.socket) in errors[0]
