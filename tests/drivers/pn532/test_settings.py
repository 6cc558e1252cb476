from __future__ import annotations

import pytest

from tilltap_drivers.pn532.settings import Pn532Settings


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": ""}, "port: is empty"),
        ({"port": "/dev/x", "baud": 1200}, "baud: 1200 is not a speed of the chip"),
        ({"port": "/dev/x", "cards": ("ndef", "nfc")}, "cards: unknown kind 'nfc' (one of: ndef, uid)"),
    ],
)
def test_settings_that_cannot_work_name_the_field(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        Pn532Settings("counter", **options)
    assert str(caught.value).startswith(words)
