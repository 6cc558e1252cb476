import inspect
import re

import pytest

from tilltap_drivers.contract import ReadFailure
from tilltap_drivers.nfc import errors, words
from tilltap_drivers.nfc.errors import BadKey, Locked, NfcError, NoPass, Refused, SessionRefused

FAMILY = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, NfcError) and error not in (NfcError, Locked, Refused, SessionRefused, BadKey)
]
REASONS = {error.reason for error in FAMILY if error is not NoPass} | {
    "no-pass", "pass-without-value", "other-wallet", "no-smart-tap", "sign-up-sent", "unknown-card", "random-uid", "empty-tag",
}  # fmt: skip


def test_every_reason_has_its_own_words():
    assert set(words._TELL) == REASONS


@pytest.mark.parametrize(
    "sentence", [*words._TELL.values(), words.UNLOCK, words.AUTHENTICATE, words.CHOOSE, words.LOOK]
)
def test_sentences_are_for_people(sentence):
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert len(sentence) < 120
    assert not re.search(r"APDU|NFC|SW|cryptogram|bundle", sentence)


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (ReadFailure("locked", words.CHOOSE), words.CHOOSE),
        (ReadFailure("unreadable", "replayed"), words._TELL["replayed"]),
        (ReadFailure("unreadable", "refused-9402"), words._SUPPORT),
        (ReadFailure("unreadable", "session-04"), words._SUPPORT),
        (ReadFailure("no-pass", "no-pass"), words._TELL["no-pass"]),
    ],
)
def test_tell(failure, sentence):
    assert words.tell(failure) == sentence


def test_what_a_failure_becomes():
    assert {error.outcome for error in FAMILY if error is not NoPass} == {"unreadable"}
    assert (NoPass().outcome, NoPass().reason, NoPass("x").reason) == ("no-pass", "no-pass", "x")
    assert (Locked("Do.").outcome, Locked("Do.").reason) == ("locked", "Do.")
    assert (Refused("step", 0x6A80).reason, Refused("step", 0x6A80).status) == ("refused-6A80", 0x6A80)
    assert "step" in str(Refused("step", 0x6A80))
    assert SessionRefused(4).reason == "session-04"


def test_reasons_are_short_stable_and_distinct():
    reasons = [error.reason for error in FAMILY if error is not NoPass]
    assert len(set(reasons)) == len(reasons)
    assert all(re.fullmatch(r"[a-z-]{5,20}", reason) for reason in reasons)


@pytest.mark.parametrize(
    ("status", "source", "meaning"),
    [
        (0x6A83, "apple-vas", "dataNotFound"),
        (0x6287, "apple-vas", "dataNotActivated"),
        (0x6984, "apple-vas", "userIntervention"),
        (0x6340, "apple-vas", "unsupportedApplicationVersion"),
        (0x9302, "google-smart-tap", "choose a pass"),
        (0x9406, "google-smart-tap", "too many requests"),
        (0x9377, "google-smart-tap", "status 9377"),
        (0x0001, "apple-vas", "status 0001"),
        (0x9302, "apple-vas", "status 9302"),
    ],
)
def test_meanings(status, source, meaning):
    assert words.meaning(status, source) == meaning


def test_every_listed_status_word_has_a_meaning():
    assert sorted(words.VAS_STATUS) == sorted(
        [0x9000, 0x6A83, 0x6287, 0x6984, 0x6A80, 0x6B00, 0x6700, 0x6340]
    )
    listed = "9000 9001 9002 9100 9101 9102 9200 9201 9203 9300 9302 9400 9402 9403 9404 9405 9406 9407 9408 9500 9502 6A82"
    assert {f"{status:04X}" for status in words.SMART_TAP_STATUS} == set(listed.split())
