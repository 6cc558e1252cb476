from concurrent.futures import ThreadPoolExecutor

from tilltap_drivers.nfc.seen import SEEN_LIMIT, Seen


def test_once():
    seen = Seen()
    assert seen.first_time(b"a")
    assert seen.first_time(b"b")
    assert not seen.first_time(b"a")
    assert not seen.first_time(b"b")


def test_the_oldest_is_forgotten_first():
    seen = Seen(limit=2)
    assert [seen.first_time(mark) for mark in (b"a", b"b", b"a", b"c", b"b", b"c", b"a")] == [
        True,
        True,
        False,
        True,
        False,
        False,
        True,
    ]
    assert len(seen) == 2


def test_bounded():
    seen = Seen()
    for n in range(SEEN_LIMIT + 100):
        seen.first_time(n.to_bytes(4, "big"))
    assert len(seen) == SEEN_LIMIT == 10_000


def test_two_readers_at_once_count_a_read_once():
    seen = Seen()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: seen.first_time(bytes((n % 50,))), range(1000)))
    assert sum(results) == 50
