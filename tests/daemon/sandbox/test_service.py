from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap.sandbox.service import (
    DAY,
    KEPT_NOTIFICATIONS,
    MAX_POINTS,
    Change,
    NewPass,
    RefusedError,
    Service,
    UnknownPassError,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def make(*passes: NewPass) -> tuple[Service, Clock]:
    clock = Clock()
    return Service(passes or (NewPass("ben", 4),), clock=clock), clock


def test_pass_ids_are_the_same_after_every_start() -> None:
    one, two = make()[0], make()[0]
    assert one.find("ben").id == two.find("ben").id
    assert one.find("ben").nfc == one.find("ben").id


def test_a_pass_is_found_by_its_id_in_any_case_and_by_its_exact_ext_id() -> None:
    service, _ = make(NewPass("Ben", 4))
    ben = service.find("Ben")
    assert service.find(ben.id.upper()) is ben
    for wrong in ("ben", "", ben.id[:-1], "Ben "):
        with pytest.raises(UnknownPassError):
            service.find(wrong)


changes = st.lists(
    st.one_of(
        st.integers(-20, 20).map(lambda n: Change(delta=n)),
        st.integers(0, 50).map(lambda n: Change(balance=n)),
        st.text(max_size=5).map(lambda t: Change(fields={"reward": t})),
    ),
    max_size=30,
)


@given(changes)
def test_the_journal_tells_the_true_order_of_application(changes: list[Change]) -> None:
    service, _ = make()
    ben = service.find("ben").id
    for change in changes:
        service.apply(ben, change)
    steps = [entry.data["balance"] for entry in service.applied("ben")]
    assert len(steps) == len(changes)
    assert [before for before, _ in steps] == [4, *(after for _, after in steps)][: len(steps)]
    assert service.find("ben").balance == (steps[-1][1] if steps else 4)
    seqs = [entry.seq for entry in service.journal()]
    assert seqs == sorted(set(seqs))


@given(st.lists(st.floats(0, 2 * DAY), max_size=40))
def test_no_24_hours_ever_show_more_than_three_texts(gaps: list[float]) -> None:
    service, clock = make()
    ben = service.find("ben").id
    for i, gap in enumerate(gaps):
        clock.now += gap
        service.apply(ben, Change(message=f"text {i}"))
    notes = service.find("ben").notifications
    shown = [n.at for n in notes if n.shown]
    assert all(later - first >= DAY for first, later in zip(shown, shown[3:], strict=False))
    assert all(n.shown or len([at for at in shown if n.at - DAY < at <= n.at]) >= 3 for n in notes), (
        "a text was held back although the day had room"
    )


def test_the_fourth_text_of_a_day_is_stored_but_not_shown() -> None:
    service, clock = make()
    ben = service.find("ben").id
    applied = [service.apply(ben, Change(message=f"text number {i}")).notification for i in range(4)]
    assert [n is not None and n.shown for n in applied] == [True, True, True, False]
    assert service.find("ben").latest_message == "text number 3"
    clock.now += DAY
    again = service.apply(ben, Change(message="the next day")).notification
    assert again is not None
    assert again.shown


def test_a_pass_in_no_wallet_gets_no_push_and_a_loyalty_text_is_dropped_whole() -> None:
    service, _ = make(NewPass("ben", 4, status="issued"))
    ben = service.find("ben").id
    assert (
        service.apply(ben, Change(message="a loyalty text", message_needs_active=True)).notification is None
    )
    assert service.find("ben").latest_message is None
    stored = service.apply(ben, Change(message="a plain text")).notification
    assert stored is not None
    assert not stored.shown


def test_notifications_do_not_grow_without_bound() -> None:
    service, _ = make()
    for i in range(KEPT_NOTIFICATIONS + 5):
        service.apply(service.find("ben").id, Change(message=f"text {i}"))
    assert len(service.find("ben").notifications) == KEPT_NOTIFICATIONS


def test_a_refused_change_leaves_everything_as_it_was() -> None:
    service, _ = make()
    before, journal = service.find("ben"), service.journal()
    with pytest.raises(RefusedError):
        service.apply(before.id, Change(delta=MAX_POINTS, message="too much"))
    with pytest.raises(RefusedError):
        service.create(NewPass("ben"))
    assert service.find("ben") is before
    assert service.journal() == journal


def test_reset_brings_the_first_passes_back_and_keeps_counting() -> None:
    service, _ = make()
    service.apply(service.find("ben").id, Change(balance=9, fields={"reward": "x"}, message="hello you"))
    service.create(NewPass("carl"))
    last = service.journal()[-1].seq
    service.reset()
    [ben] = service.passes()
    assert (ben.balance, ben.fields["reward"], ben.notifications) == (4, "", ())
    assert service.journal(last)
    assert service.journal(last) == service.journal()


def test_writers_on_several_threads_lose_nothing() -> None:
    service, _ = make()
    ben = service.find("ben").id

    def write() -> None:
        for _ in range(200):
            service.apply(ben, Change(delta=1))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert service.find("ben").balance == 4 + 800
