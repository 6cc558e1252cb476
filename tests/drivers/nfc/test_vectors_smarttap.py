"""The shared vectors for Smart Tap: published bytes, and one whole session with every intermediate value."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from rigs.taps import script, tap, vector_key, vectors
from tilltap_drivers.contract import PassRead
from tilltap_drivers.nfc import bundle, ndef, ose, smarttap
from tilltap_drivers.nfc.bundle import ServiceObject, SessionKeys
from tilltap_drivers.nfc.errors import Tampered
from tilltap_drivers.nfc.keys import from_scalar, load_key
from tilltap_drivers.nfc.phones import Android, GooglePass
from tilltap_drivers.nfc.phones.android import AndroidSettings
from tilltap_drivers.nfc.prepared import Prepared
from tilltap_drivers.nfc.smarttap import Session
from tilltap_drivers.nfc.wallet import GoogleKey, GoogleWallet, Wallet

V = vectors("smarttap")
P = V["published"]
S = V["sessions"][0]
T, D, MID = S["terminal"], S["device"], S["intermediate"]


def hexed(table, name):
    return bytes.fromhex(table[name + "_hex"])


@pytest.mark.parametrize("vector", V["keys"], ids=lambda v: v["name"])
def test_keys(vector):
    key = load_key(vector["private_key_pem"].encode())
    assert key.public.hex() == vector["public_key_compressed_hex"]
    google = GoogleWallet(vector["collector_id"], (GoogleKey(vector["key_version"], key),))
    assert google.collector().hex() == vector["collector_id_hex"]


def test_published_ose_answer():
    expected = P["ose_select_response"]["expected"]
    answer = ose.parse(hexed(P["ose_select_response"], "response_data"))
    assert answer is not None
    entry = answer.smart_tap()
    assert entry == ose.Entry(
        hexed(expected, "smart_tap_aid"),
        priority=expected["priority"],
        min_version=expected["min_version"],
        max_version=expected["max_version"],
        capabilities=expected["capabilities"],
    )
    assert entry.may_skip_select
    assert answer == ose.Ose(
        expected["application_label"].encode(),
        version=hexed(expected, "application_version"),
        nonce=hexed(expected, "device_nonce"),
        transaction=hexed(expected, "transaction_details"),
        ephemeral=hexed(expected, "device_ephemeral_public_key"),
        directory=(entry,),
    )


def test_published_select_answer():
    expected = P["smart_tap_select_response"]["expected"]
    assert smarttap.parse_selected(
        hexed(P["smart_tap_select_response"], "response_data")
    ) == smarttap.Selected(expected["min_version"], expected["max_version"], hexed(expected, "device_nonce"))


def test_the_negotiate_command_of_a_real_terminal():
    vector = P["negotiate_request_passkit"]
    expected, check = vector["expected"], vector["signature_check"]
    collector = expected["collector_id"].to_bytes(4, "big")
    command = smarttap.negotiate(
        Session(hexed(expected, "session_id"), expected["sequence_number"], expected["status"]),
        nonce=hexed(expected, "terminal_nonce"),
        ephemeral=hexed(expected, "terminal_ephemeral_public_key"),
        key_version=expected["key_version"],
        signature=hexed(expected, "signature_der"),
        collector=collector,
        live=bool(expected["authentication_byte"]),
    )
    assert command.data.hex() == vector["command_data_hex"]
    signed = bundle.signed_data(
        hexed(expected, "terminal_nonce"),
        hexed(check, "device_nonce"),
        collector,
        hexed(expected, "terminal_ephemeral_public_key"),
    )
    assert signed == hexed(check, "signed_data")
    key = vector_key(check["key"], "smarttap")
    public = key.private.public_key()
    public.verify(hexed(expected, "signature_der"), signed, ec.ECDSA(SHA256()))
    public.verify(bundle.sign(key, signed), signed, ec.ECDSA(SHA256()))


def test_published_negotiate_answer():
    expected = P["negotiate_response"]["expected"]
    assert smarttap.parse_negotiated(hexed(P["negotiate_response"], "response_data")) == smarttap.Negotiated(
        Session(hexed(expected, "session_id"), expected["sequence_number"], expected["status"]),
        hexed(expected, "device_ephemeral_public_key"),
    )


def test_published_get_data_request():
    vector = P["get_data_request"]
    expected = vector["expected"]
    command = smarttap.get_data(
        Session(hexed(expected, "session_id"), expected["sequence_number"]),
        collector=hexed(expected, "collector_id"),
        service_types=expected["service_types"],
        pos_capabilities=hexed(expected, "pos_capabilities"),
    )
    assert command.data.hex() == vector["command_data_hex"]


def test_published_bundle_without_its_keys():
    vector = P["get_data_response_undecryptable"]
    served = smarttap.parse_served(hexed(vector, "response_data"))
    assert served.session.sequence == vector["expected"]["sequence_number"]
    assert served.session.status == vector["expected"]["status"]
    assert served.flags == vector["expected"]["bundle_flags"]
    assert served.encrypted
    assert served.compressed
    with pytest.raises(Tampered):
        bundle.decrypt(served.bundle, SessionKeys(bytes(16), bytes(32)))


@pytest.mark.parametrize(
    "data", [P["push_request"]["command_data_hex"], P["push_response"]["response_data_hex"]]
)
def test_published_push_messages_survive_the_codec(data):
    [record] = ndef.parse(bytes.fromhex(data))
    assert ndef.encode((record,)).hex() == data
    start = 2 if record.type == b"spr" else 0
    inner = ndef.parse(record.payload[start:])
    assert ndef.encode(inner) == record.payload[start:]
    assert smarttap.find(inner, b"ses").payload[:8].hex() == "6b159a80fc8283fd"


def test_published_compressed_bundle():
    vector = P["record_bundle_zlib"]
    plain = bundle.inflate(hexed(vector, "compressed"))
    assert plain == hexed(vector, "decompressed")
    assert len(plain) == vector["expected"]["decompressed_length"]
    loyalty, customer = bundle.service_objects(plain)
    first, second = vector["expected"]["objects"]
    assert (loyalty.type, loyalty.issuer_type) == (first["type"], first["issuer_type"])
    assert loyalty.issuer_id == hexed(first, "issuer_id")
    assert loyalty.object_id == hexed(first, "object_id")
    assert loyalty.value.decode().startswith(first["service_number_starts_with"])
    assert len(loyalty.value) == first["service_number_length"]
    assert customer == ServiceObject(
        second["type"],
        second["customer_id_hex"].encode(),
        issuer_type=second["issuer_type"],
        issuer_id=hexed(second, "issuer_id"),
        language=second["language"],
        tap_id=hexed(second, "tap_id"),
    )


def test_session_values():
    ephemeral = from_scalar(int(T["terminal_ephemeral_private_scalar_hex"], 16))
    assert ephemeral.public == hexed(T, "terminal_ephemeral_public_key")
    signed = bundle.signed_data(
        hexed(T, "terminal_nonce"),
        hexed(D, "device_nonce"),
        T["collector_id"].to_bytes(4, "big"),
        ephemeral.public,
    )
    assert signed == hexed(MID, "signed_data")
    signature = bundle.sign(vector_key(T["key"], "smarttap"), signed)
    assert signature == hexed(MID, "signature_der")
    device_key = hexed(D, "device_ephemeral_public_key")
    assert device_key == hexed(MID, "hkdf_salt")
    assert signed + signature == hexed(MID, "hkdf_info")
    keys = bundle.session_keys(ephemeral.private, device_key, signed + signature)
    assert keys == SessionKeys(hexed(MID, "aes128_key"), hexed(MID, "hmac_key"))
    served = smarttap.parse_served(bytes.fromhex(S["steps"][3]["response_hex"])[:-2])
    assert bundle.decrypt(served.bundle, keys) == hexed(MID, "bundle_plaintext")


def vector_wallet():
    key = GoogleKey(T["key_version"], vector_key(T["key"], "smarttap"))
    return Wallet(
        google=GoogleWallet(
            T["collector_id"],
            (key,),
            service_types=tuple(T["service_types"]),
            pos_capabilities=hexed(T, "pos_capabilities"),
        )
    )


def vector_prepared():
    ephemeral = from_scalar(int(T["terminal_ephemeral_private_scalar_hex"], 16))
    return Prepared(
        ephemeral.private, ephemeral.public, hexed(T, "terminal_nonce"), hexed(T, "session_id"), b"", float
    )


def test_session_as_a_conversation():
    steps = S["steps"]
    done = tap(vector_wallet(), script(s["response_hex"] for s in steps), prepared=vector_prepared())
    assert [c.hex() for c in done.commands] == [s["command_hex"] for s in steps]
    expected = S["expected"]["objects"][0]["service_number_text"].encode()
    assert done.outcome == PassRead(expected, "google-smart-tap", index=1, slot=1)


def test_the_phone_seals_the_same_bytes():
    """Given the device's random values of the vector, the simulated phone says the published answers."""
    key = vector_key(T["key"], "smarttap")
    scalar = int(D["device_ephemeral_private_scalar_hex"], 16)
    drawn = {
        32: hexed(D, "device_nonce"),
        40: (scalar - 1).to_bytes(40, "big"),
        12: hexed(D, "iv"),
        3: b"uid",
    }
    expected = S["expected"]["objects"][0]
    held = GooglePass(
        T["collector_id"],
        expected["service_number_text"],
        expected["type"],
        issuer=bytes((expected["issuer_type"],)) + hexed(expected, "issuer_id"),
        object_id=hexed(expected, "object_id"),
    )
    phone = Android(
        [held],
        {T["collector_id"]: {T["key_version"]: key.public}},
        random=drawn.__getitem__,
        settings=AndroidSettings(nonce_in=("wallet", "select")),
    )
    done = tap(vector_wallet(), phone.answer, prepared=vector_prepared())
    assert [r.hex() for r in done.responses] == [s["response_hex"] for s in S["steps"]]
