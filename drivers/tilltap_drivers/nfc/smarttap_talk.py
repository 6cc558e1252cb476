"""Reading one Google pass from a phone (google-smart-tap 2 to 11)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

from tilltap_drivers.contract import PassRead
from tilltap_drivers.nfc import bundle, smarttap, words
from tilltap_drivers.nfc.apdu import Channel, Command, Response
from tilltap_drivers.nfc.bundle import ServiceObject, SessionKeys
from tilltap_drivers.nfc.errors import (
    EndlessParts,
    LimitExceeded,
    Locked,
    Malformed,
    NfcError,
    NoNonce,
    NoPass,
    Refused,
    SessionRefused,
    Transient,
    Unencrypted,
    UnsupportedVersion,
    WrongKey,
)
from tilltap_drivers.nfc.ose import Entry, Ose
from tilltap_drivers.nfc.prepared import Prepared
from tilltap_drivers.nfc.smarttap import Negotiated, Selected, Served, Session
from tilltap_drivers.nfc.wallet import OBJECT_TYPES, GoogleWallet

_SUCCESS, _MORE, _VERSION = 0x9000, 0x9100, 0x9502
# First bytes of a status word, by which a terminal decides (google-smart-tap 11).
_FINE, _TRANSIENT, _USER, _PERMANENT = (0x90, 0x91), 0x92, 0x93, 0x95

_SENTENCES = {0x9300: words.UNLOCK, 0x9302: words.CHOOSE}

_NONCE_BYTES = 32


class _Answer(Protocol):
    @property
    def session(self) -> Session: ...


_A = TypeVar("_A", bound=_Answer)


def probe(channel: Channel) -> Generator[bytes, bytes, Selected | None]:
    """Select Smart Tap on a device that has no OSE; None if it is not there. Locked."""
    response = yield from channel.exchange(smarttap.SELECT)
    if response.sw1 == _USER:
        raise _refusal("select", response.status)
    if response.status != _SUCCESS:
        return None
    try:
        return smarttap.parse_selected(response.data)
    except NfcError:
        return None  # a card that accepts any name


class SmartTap:
    """One session with one phone; `read_pass` is the conversation."""

    def __init__(self, channel: Channel, google: GoogleWallet, prepared: Prepared) -> None:
        self._channel = channel
        self._google = google
        self._prepared = prepared
        # Every APDU of the session counts one, in both directions, retries included (google-smart-tap 6).
        self._sequence = 1

    def read_pass(
        self, ose: Ose | None, selected: Selected | None = None
    ) -> Generator[bytes, bytes, PassRead]:
        """The pass, by the settings' preference; `selected` if the application has been selected already.

        NfcError for all else.
        """
        nonce = yield from self._device_nonce(ose, selected)
        keys, slot = None, None
        if self._google.keys:
            keys, slot = yield from self._negotiated(nonce)
        served = yield from self._asked("get data", self._get_data, _served)
        objects = bundle.service_objects(self._plain(served, keys))
        return PassRead(_identity(objects, self._google.objects), "google-smart-tap", index=1, slot=slot)

    def _device_nonce(
        self, ose: Ose | None, selected: Selected | None
    ) -> Generator[bytes, bytes, bytes | None]:
        entry = _entry(ose)
        offered = [entry.nonce if entry else None, ose.nonce if ose else None]
        if selected is None:
            known = _usable(offered)
            if self._google.skip_select and entry and entry.may_skip_select and known:
                return known
            selected = yield from self._selected()
        smarttap.check_version(selected.min_version, selected.max_version)
        return _usable([selected.nonce, *offered])

    def _selected(self) -> Generator[bytes, bytes, Selected]:
        for _ in range(1 + smarttap.RETRIES_LIMIT):
            response = yield from self._channel.exchange(smarttap.SELECT)
            if response.sw1 == _TRANSIENT:
                continue
            if response.status == 0x6A82:
                raise NoPass("no-smart-tap")
            if response.status != _SUCCESS:
                raise _refusal("select", response.status)
            return smarttap.parse_selected(response.data)
        raise Transient("select")

    def _negotiated(self, device_nonce: bytes | None) -> Generator[bytes, bytes, tuple[SessionKeys, int]]:
        if device_nonce is None and not self._google.presign:
            raise NoNonce("the phone gave no nonce")
        ephemeral = self._prepared.ephemeral
        if ephemeral is None:
            raise ValueError("prepared: was made for other settings (without Google keys)")
        signed = bundle.signed_data(
            self._prepared.nonce,
            device_nonce or bundle.NO_NONCE,
            self._google.collector(),
            self._prepared.ephemeral_public,
        )
        for slot, owned in enumerate(self._google.keys, 1):
            signature = bundle.sign(owned.key, signed)
            make = self._negotiation(owned.version, signature, live=device_nonce is not None)
            try:
                answer = yield from self._asked("negotiate", make, _negotiated)
            except Refused as refused:
                if refused.status >> 8 != _PERMANENT:
                    raise
                continue  # unknown to this phone's Google, perhaps not yet or no longer
            return bundle.session_keys(ephemeral, answer.device_key, signed + signature), slot
        raise WrongKey("the phone accepts none of the keys for this collector")

    def _negotiation(self, version: int, signature: bytes, *, live: bool) -> Callable[[Session], Command]:
        return lambda session: smarttap.negotiate(
            session,
            nonce=self._prepared.nonce,
            ephemeral=self._prepared.ephemeral_public,
            key_version=version,
            signature=signature,
            collector=self._google.collector(),
            live=live,
        )

    def _get_data(self, session: Session) -> Command:
        return smarttap.get_data(
            session,
            collector=self._google.collector(),
            service_types=self._google.service_types,
            pos_capabilities=self._google.pos_capabilities,
        )

    def _asked(
        self, step: str, make: Callable[[Session], Command], parse: Callable[[Response], _A]
    ) -> Generator[bytes, bytes, _A]:
        """Send a command, again after a transient error; the answer belongs to this session and is well."""
        for _ in range(1 + smarttap.RETRIES_LIMIT):
            sent = Session(self._prepared.session_id, self._sequence)
            response = yield from self._whole(make(sent))
            if response.sw1 == _TRANSIENT:
                continue
            if response.sw1 not in _FINE:
                raise _refusal(step, response.status)
            answer = parse(response)
            answer.session.check_follows(sent)
            if answer.session.status in smarttap.SESSION_RETRY:
                continue
            if answer.session.status not in smarttap.SESSION_OK:
                raise SessionRefused(answer.session.status)
            return answer
        raise Transient(step)

    def _whole(self, command: Command) -> Generator[bytes, bytes, Response]:
        """The answer with all its parts, which may be cut anywhere (google-smart-tap 9)."""
        response = yield from self._counted(command)
        body = response.data
        parts = 1
        while response.status == _MORE:
            if parts == smarttap.PARTS_LIMIT:
                raise EndlessParts(f"more than {smarttap.PARTS_LIMIT} parts")
            response = yield from self._counted(smarttap.MORE)
            parts += 1
            body += response.data
            if len(body) > smarttap.PARTS_BYTES_LIMIT:
                raise LimitExceeded(f"parts of more than {smarttap.PARTS_BYTES_LIMIT} bytes")
        return Response(body, response.status)

    def _counted(self, command: Command) -> Generator[bytes, bytes, Response]:
        self._sequence += 2
        return self._channel.exchange(command)

    def _plain(self, served: Served, keys: SessionKeys | None) -> bytes:
        plain = served.bundle
        if plain is None:
            raise NoPass
        if served.encrypted:
            if keys is None:
                raise WrongKey("an encrypted bundle, and no key is configured")
            plain = bundle.decrypt(plain, keys)
        elif not self._google.allow_unencrypted:
            raise Unencrypted("a bundle that nothing protects")
        return bundle.inflate(plain) if served.compressed else plain


def _entry(ose: Ose | None) -> Entry | None:
    if ose is None or ose.directory is None:
        return None  # some versions of the software list nothing
    entry = ose.smart_tap()
    if entry is None:
        raise NoPass("no-smart-tap")
    smarttap.check_version(entry.min_version, entry.max_version)
    return entry


def _usable(nonces: Sequence[bytes | None]) -> bytes | None:
    """The first that can be signed: SELECT's, then the directory's, then the wallet's."""
    return next((nonce for nonce in nonces if nonce is not None and len(nonce) == _NONCE_BYTES), None)


def _negotiated(response: Response) -> Negotiated:
    return smarttap.parse_negotiated(response.data)


def _served(response: Response) -> Served:
    if response.status != _SUCCESS and not response.data:
        raise NoPass  # 9001, 9102: success without passes
    served = smarttap.parse_served(response.data)
    if response.status == _SUCCESS and served.bundle is None:
        raise Malformed("an answer without its bundle")
    return served


def _identity(objects: Sequence[ServiceObject], preference: Sequence[str]) -> bytes:
    """NoPass if none of the kinds is there, or if none has a value."""
    wanted = [found for name in preference for found in objects if found.type == OBJECT_TYPES[name]]
    value = next((found.value for found in wanted if found.value), None)
    if value is None:
        raise NoPass("pass-without-value" if wanted else "no-pass")
    return value


def _refusal(step: str, status: int) -> NfcError:
    if status >> 8 == _USER:
        return Locked(_SENTENCES.get(status, words.LOOK))
    if status == _VERSION:
        return UnsupportedVersion("the phone speaks another version of Smart Tap")
    return Refused(step, status)
