"""Business days under daylight saving: none is lost, none overlaps, and the clock on the wall is the shop's."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap.days import begins, business_day, span

LONDON, HAVANA, APIA = ZoneInfo("Europe/London"), ZoneInfo("America/Havana"), ZoneInfo("Pacific/Apia")
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("day", "starts", "zone", "first", "hours"),
    [
        (date(2026, 3, 28), "00:00", LONDON, "2026-03-28T00:00", 24),
        (date(2026, 3, 29), "00:00", LONDON, "2026-03-29T00:00", 23),  # clocks go forward at 01:00
        (date(2026, 3, 28), "04:00", LONDON, "2026-03-28T04:00", 23),  # in the night after the 28th
        (date(2026, 10, 25), "00:00", LONDON, "2026-10-24T23:00", 25),  # back at 02:00
        (date(2026, 10, 24), "04:00", LONDON, "2026-10-24T03:00", 25),
        (date(2026, 10, 25), "01:30", LONDON, "2026-10-25T00:30", 25),  # 01:30 comes twice: the first
        (
            date(2026, 3, 29),
            "01:30",
            LONDON,
            "2026-03-29T01:30",
            23,
        ),  # 01:30 does not come: 02:30 is shown then
        (date(2026, 3, 8), "00:00", HAVANA, "2026-03-08T05:00", 23),  # midnight itself is skipped
        (date(2011, 12, 30), "00:00", APIA, "2011-12-30T10:00", 0),  # a whole day was skipped
    ],
)
def test_a_day_in_the_year(day: date, starts: str, zone: ZoneInfo, first: str, hours: int) -> None:
    begin, end = span(day, time.fromisoformat(starts), zone)
    assert begin == datetime.fromisoformat(first).replace(tzinfo=UTC)
    assert end - begin == hours * HOUR


_zones = st.sampled_from([LONDON, HAVANA, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kathmandu")])
_instants = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


@given(_instants, st.times().map(lambda t: t.replace(second=0, microsecond=0, tzinfo=None)), _zones)
def test_every_instant_belongs_to_the_day_whose_span_it_is_in(
    at: datetime, starts: time, zone: ZoneInfo
) -> None:
    day = business_day(at, starts, zone)
    begin, end = span(day, starts, zone)
    assert begin <= at < end
    assert end == begins(day + timedelta(days=1), starts, zone)


def test_the_machines_own_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time as clock

    monkeypatch.setenv("TZ", "Europe/London")
    clock.tzset()
    try:
        assert business_day(datetime(2026, 10, 24, 23, 30, tzinfo=UTC), time(0)) == date(2026, 10, 25)
        assert begins(date(2026, 7, 1), time(4)) == datetime(2026, 7, 1, 3, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        clock.tzset()
