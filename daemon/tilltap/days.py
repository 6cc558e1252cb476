"""The business day: it begins at `[till] day_starts` by the shop's own clock, also where that clock is put
forward or back (contract section 2). Pure.

Sales are kept with their instant in UTC; which day that was is decided when somebody asks, so that neither
daylight saving nor a till moved to another time zone changes what has been recorded.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

MIDNIGHT = time(0)
_DAY = timedelta(days=1)


def begins(day: date, starts: time, zone: tzinfo | None = None) -> datetime:
    """The instant (UTC) at which business day `day` begins; `zone` None: the machine's.

    A start that the clock skips in spring is the moment of skipping, or so much after it as it was to be; one
    that it shows twice in autumn is the first.
    """
    local = datetime.combine(day, starts)
    return (local.astimezone() if zone is None else local.replace(tzinfo=zone)).astimezone(UTC)


def business_day(at: datetime, starts: time, zone: tzinfo | None = None) -> date:
    """The business day that the instant `at` belongs to; every instant belongs to exactly one."""
    day = at.astimezone(zone).date()
    while begins(day, starts, zone) > at:
        day -= _DAY
    while begins(day + _DAY, starts, zone) <= at:
        day += _DAY
    return day


def span(day: date, starts: time, zone: tzinfo | None = None) -> tuple[datetime, datetime]:
    """From the first instant of the business day to the first of the next; 23, 24 or 25 hours, as a rule."""
    return begins(day, starts, zone), begins(day + _DAY, starts, zone)
