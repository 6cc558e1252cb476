"""The shared vectors for Apple VAS: three cryptograms are from real phones."""

import pytest

from rigs.taps import script, tap, vector_key, vectors
from tilltap_drivers.contract import PassRead
from tilltap_drivers.nfc import ose, vas
from tilltap_drivers.nfc.errors import Tampered, WrongKey
from tilltap_drivers.nfc.keys import from_scalar, load_key
from tilltap_drivers.nfc.phones import ApplePass, IPhone
from tilltap_drivers.nfc.wallet import AppleWallet, Wallet

V = vectors("vas")
ERRORS = {"authentication-failed": Tampered, "unknown-key-id": WrongKey}


def merchant_id(name):
    return AppleWallet((name,), (vector_key("generated-1"),)).merchant_ids()[0]


@pytest.mark.parametrize("vector", V["keys"], ids=lambda v: v["name"])
def test_keys(vector):
    key = load_key(vector["private_key_pem"].encode())
    assert key.public.hex() == vector["public_key_compressed_hex"]
    assert key.vas_id.hex() == vector["vas_key_id_hex"]
    assert key == load_key(vector["private_scalar_hex"].encode())


@pytest.mark.parametrize("vector", V["cryptograms"], ids=lambda v: v["name"])
def test_cryptograms(vector):
    keys = [vector_key("springcard-demo"), vector_key(vector["key"])]
    sealed, merchant = bytes.fromhex(vector["cryptogram_hex"]), merchant_id(vector["pass_type_id"])
    if "pass_type_id_sha256_hex" in vector:
        assert merchant.hex() == vector["pass_type_id_sha256_hex"]
    if "expected_error" in vector:
        with pytest.raises(ERRORS[vector["expected_error"]]):
            vas.open_cryptogram(sealed, merchant, keys)
        return
    opened = vas.open_cryptogram(sealed, merchant, keys)
    expected = vector["expected"]
    assert opened.message.hex() == expected["message_hex"]
    assert opened.timestamp == vas.EPOCH_2001 + expected["timestamp"]
    assert opened.slot == 2
    assert opened.mark == sealed[4:36]
    if vector["kdf_variant"] == 2:
        with pytest.raises(Tampered):
            vas.open_cryptogram(sealed, merchant, keys, legacy=False)


def test_the_redacted_example_names_no_key():
    [vector] = [v for v in V["cryptograms"] if "as_printed_hex" in v]
    with pytest.raises(WrongKey):
        vas.open_cryptogram(
            bytes.fromhex(vector["as_printed_hex"]),
            merchant_id(vector["pass_type_id"]),
            [vector_key(vector["key"])],
        )


def test_worked_example():
    w = V["worked_example"]
    opened = vas.open_cryptogram(
        bytes.fromhex(w["cryptogram_hex"]),
        merchant_id("pass.example.vas.reader.shared"),
        [from_scalar(int(w["reader_private_scalar_hex"], 16))],
    )
    plain = bytes.fromhex(w["plaintext_hex"])
    assert opened.message == plain[4:]
    assert opened.timestamp == vas.EPOCH_2001 + int.from_bytes(plain[:4], "big")


@pytest.mark.parametrize(
    ("name", "older", "seconds"),
    [("generated-basic", False, 800000000), ("generated-legacy-variant-2", True, 800000001)],
)
def test_the_phone_seals_the_same_bytes(name, older, seconds):
    """Given the ephemeral key of the vector, the simulated phone makes the published cryptogram."""
    [vector] = [v for v in V["cryptograms"] if v["name"] == name]
    scalar = int(V["worked_example"]["device_ephemeral_private_scalar_hex"], 16)
    held = ApplePass(
        vector["pass_type_id"],
        vector_key("generated-1").public,
        bytes.fromhex(vector["expected"]["message_hex"]),
        older=older,
    )
    phone = IPhone(
        [held],
        random=lambda n: (scalar - 1).to_bytes(n, "big") if n == 40 else bytes(n),
        now=lambda: 978307200 + seconds + 0.9,
    )
    settings = Wallet(AppleWallet((vector["pass_type_id"],), (vector_key("generated-1"),)))
    done = tap(settings, phone.answer)
    assert vector["cryptogram_hex"] in done.responses[1].hex()
    assert done.value.hex() == vector["expected"]["message_hex"]


@pytest.mark.parametrize("vector", V["select_responses"], ids=lambda v: v["name"])
def test_select_responses(vector):
    answer = ose.parse(bytes.fromhex(vector["response_data_hex"]))
    expected = vector["expected"]
    assert answer == ose.Ose(
        expected["application_label"].encode(),
        version=bytes.fromhex(expected["version"]),
        nonce=bytes.fromhex(expected["nonce_hex"]),
        capabilities=bytes.fromhex(expected["capabilities_hex"]),
    )
    vas.check_version(answer.version)


@pytest.mark.parametrize("vector", V["commands"][1:], ids=lambda v: v["name"])
def test_requests(vector):
    fields = vector["fields"]
    name = fields["pass_type_id"]
    command = vas.get_data(
        merchant_id(name) if name else None,
        mode=fields["mode"],
        more=fields["more_requests"],
        nonce=bytes.fromhex(fields["nonce_hex"] or ""),
        filter=bytes.fromhex(fields.get("filter_hex") or ""),
        url=fields["url"] or "",
    )
    assert command.encode().hex() == vector["apdu_hex"]


def test_select_request():
    assert ose.SELECT.encode().hex() == V["commands"][0]["apdu_hex"]


@pytest.mark.parametrize("vector", V["get_data_responses"], ids=lambda v: v["name"])
def test_get_data_responses(vector):
    answer = vas.parse_answer(bytes.fromhex(vector["response_data_hex"]))
    assert answer.cryptogram.hex() == vector["expected"]["cryptogram_hex"]
    assert answer.mobile_token.hex() == vector["expected"]["mobile_token_hex"]


def test_the_published_trace_as_a_conversation():
    """What a real terminal and a real iPhone said, both ways."""
    command = next(v for v in V["commands"] if v["name"] == "get-data-published-trace")
    settings = Wallet(
        AppleWallet(
            (command["fields"]["pass_type_id"],),
            (vector_key("passkit-demo"),),
            sign_up_url=command["fields"]["url"],
            filter=bytes.fromhex(command["fields"]["filter_hex"]),
            send_nonce=False,
        )
    )
    answers = [
        V["select_responses"][1]["response_data_hex"] + "9000",
        V["get_data_responses"][0]["response_data_hex"] + "9000",
    ]
    done = tap(settings, script(answers))
    assert [c.hex() for c in done.commands] == [V["commands"][0]["apdu_hex"], command["apdu_hex"]]
    assert done.outcome == PassRead(b"6d1UlFpnOc50iVKRaboDOK", "apple-vas", index=1, slot=1)
