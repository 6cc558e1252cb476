"""The configuration file as a model: every key with its type, default and description. Pure.

The descriptions are the reference: `python -m tilltap.config.document` writes REFERENCE.md and the JSON
schema from them. Source of keys and defaults: contract section 2.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from tilltap.config.mistakes import did_you_mean, shown
from tilltap.config.types import (
    CollectorId,
    CurrencyCode,
    FrameFlags,
    KeyFiles,
    KeyVersions,
    Label,
    LedgerUrl,
    MessageText,
    Money,
    Name,
    PassTypeIds,
    PathText,
    Price,
    ReaderCommand,
    SocketPath,
    TimeOfDay,
    Unavailable,
    Url,
    refuse,
)
from tilltap.model import Messages, PassFace
from tilltap_drivers.nfc.wallet import CANDIDATES_LIMIT
from tilltap_drivers.pcsc.settings import COMMANDS_LIMIT, LAST_FUNCTION
from tilltap_drivers.vtap.settings import DEFAULT_POSTFIX, DEFAULT_PREFIX

# Sales are at most 10^11 minor units (contract section 3), so points stay far inside a ledger's 64 bits.
MOST_POINTS = 1_000_000
# The line speeds of termios(3) that a serial line may sensibly be set to.
Baud = Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600]
# Below a second no request is over; one that a service still applies after an hour is a fault to report.
SETTLE_SECONDS = (1, 3600)
# Phones and tills that ask a time server differ by a second or two; beyond a day it is no window.
WINDOW_SECONDS = (5, 86_400)
# The kinds of Google pass, as tilltap_drivers.nfc.wallet.OBJECT_TYPES names them.
GoogleObject = Literal[
    "loyalty",
    "offer",
    "gift-card",
    "private-label",
    "event-ticket",
    "flight",
    "transit",
    "generic",
    "generic-private",
    "customer",
]
# Those that a PN532's serial line can be set to, as tilltap_drivers.pn532.settings.SPEEDS lists them.
Pn532Baud = Literal[9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600]
# Ordinary cards that may identify, as tilltap_drivers.nfc.wallet.CARDS names them.
CardKind = Literal["ndef", "uid"]
# As tilltap_drivers.pcsc.settings.ECP names them.
Ecp = Literal["off", "transparent", "acr122u", "flomio", "commands"]
DEFAULT_KEY_FILES = {"passentry": "passentry.key", "sandbox": None}
_MESSAGES, _FACE = Messages(), PassFace()
PLANNED_PROVIDERS = ("passquare", "passworks", "passmachine")


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Till(Table):
    """The till itself."""

    name: Name | None = Field(default=None, examples=["till-1"])
    """The till's identity in the ledger, unique there; the host name if left out. Choose it before the
    first sale."""
    store: Label = ""
    """The shop this till stands in, for reports and for `{store}` in messages."""
    day_starts: TimeOfDay = "00:00"
    """Local time at which a business day begins, for reports and budgets per day: `HH:MM`."""


class Earn(Table):
    """How a paid sale earns points. At least one of `spend` and `visit` is needed."""

    spend: Price | None = Field(default=None, examples=["10.00"])
    """Each full amount of this size that is paid earns `points`; nothing per amount if left out."""
    points: int = Field(default=1, ge=0, le=MOST_POINTS)
    """Points for each full `spend`."""
    remainder: Literal["drop", "carry"] = "drop"
    """What is paid beyond the last full `spend`: `drop` forgets it, `carry` keeps it for the customer's
    next sale, where what refunds left of several sales counts too."""
    visit: int = Field(default=0, ge=0, le=MOST_POINTS)
    """Points for a paid sale of at least `minimum`, whatever its amount; alone or added to those of
    `spend`."""
    minimum: Money = Field(default="0", validate_default=True)
    """Smallest paid amount that earns the points of `visit`."""


class Reward(Table):
    """A discount bought with points. One table per reward."""

    id: Name = Field(examples=["five-off"])
    """The reward's name on the POS socket and in the ledger; unique, and never given to another reward."""
    title: Name = Field(examples=["£5 off"])
    """What cashier and customer read, as in `{reward}`."""
    cost: int = Field(ge=1, le=MOST_POINTS, examples=[5])
    """Points needed."""
    discount: Price = Field(examples=["5.00"])
    """Taken off the order's total. A smaller total is cut to nothing, and the full cost is spent."""
    offer: Literal["ask", "automatic"] = "ask"
    """`ask` prompts the cashier; `automatic` accepts once customer and total are known (of several, the
    dearest)."""
    on_redeem: Literal["reset", "subtract", "keep"] = "reset"
    """Points taken: `reset` all free points, `subtract` the cost, `keep` none (one use per full cost of the
    balance)."""
    minimum: Money = Field(default="0", validate_default=True)
    """Smallest total the reward is offered for."""


class MessageTexts(Table):
    """What customer and cashier read.

    Placeholders: `{earned}` `{points}` `{reward}` `{balance}` `{store}`; `{{` and `}}` stand for one brace.
    A sale sends at most one push: `redeemed` before `reached` before `earned`. A push has 5 to 350 characters
    once its placeholders are filled in; an empty text sends nothing.
    """

    earned: MessageText = _MESSAGES.earned
    """Push to the customer, only if points were earned."""
    reached: MessageText = _MESSAGES.reached
    """Push to the customer, only if this sale made a reward available."""
    redeemed: MessageText = _MESSAGES.redeemed
    """Push to the customer who used a reward."""
    prompt: MessageText = _MESSAGES.prompt
    """Question for the cashier when a reward is offered."""
    receipt: MessageText = _MESSAGES.receipt
    """Line for the paper receipt."""


class Face(Table):
    """Optional: the reward on the face of the pass. Without this table the face is left alone."""

    reward_field: Label = "reward"
    """Key of a text field in the pass template, one without a change message of its own; empty leaves it
    alone."""
    reward_text: MessageText = _FACE.text
    """Text of that field while a reward is available."""
    no_reward_text: MessageText = _FACE.empty
    """Text of that field while none is."""


class Program(Table):
    """The loyalty programme. A reload takes up changes here; an open sale keeps the rules it began with."""

    name: Name = "Loyalty"
    """What the programme is called."""
    currency: CurrencyCode = "GBP"
    """ISO 4217 code of every amount here and on the POS socket. A ledger keeps the one it began with."""
    point: Name = "point"
    """Wording of `{points}` for one, of whichever number stands before it."""
    points: Name = "points"
    """Wording of `{points}` for many."""
    earn: Earn
    reward: list[Reward] = Field(default_factory=list)
    messages: MessageTexts = Field(default_factory=MessageTexts)
    face: Face | None = Field(default=None, alias="pass")


def _provider(value: object) -> object:
    if value in PLANNED_PROVIDERS:
        refuse(f"provider {value} is not available yet", 'now: "passentry", or "sandbox" for training')
    return value


class Loyalty(Table):
    """The service that holds the customers' passes."""

    provider: Annotated[Literal["passentry", "sandbox"], BeforeValidator(_provider)] = "passentry"
    """`passentry`, or `sandbox` for training: there every message begins with TRAINING; give it a ledger
    and a socket of its own."""
    url: Url | None = Field(default=None, examples=["https://api.passentry.com"])
    """Address of the service, without its `/api/v1`; plain http only to this machine. Default:
    `https://api.passentry.com`, for `sandbox` `http://127.0.0.1:7447`."""
    api_key_file: PathText | None = Field(default=None, examples=["passentry.key"])
    """File with the API key, and nothing else. A bare name is looked up in `$CREDENTIALS_DIRECTORY` first.
    Default: `passentry.key`; `sandbox` needs none."""
    ca_file: PathText | None = Field(default=None, examples=["proxy-ca.pem"])
    """PEM file of certificate authorities to trust instead of the system's, for a shop behind an inspecting
    proxy."""
    settle: int = Field(default=120, ge=SETTLE_SECONDS[0], le=SETTLE_SECONDS[1])
    """Seconds: the longest time the service may still apply a request that was given up on. Each write is
    read back after it."""


class AppleWallet(Table):
    """Apple Wallet passes, for readers that do not decrypt by themselves."""

    pass_type_id: PassTypeIds = Field(examples=["pass.com.example.coffee"])
    """Kind of pass to ask a phone for, or a list in order of preference."""
    keys: list[PathText] = Field(min_length=1, max_length=CANDIDATES_LIMIT, examples=[["apple-1.pem"]])
    """Files with the private keys (P-256, PEM or DER) of these passes, one key each. A bare name is looked up
    in `$CREDENTIALS_DIRECTORY` first."""
    window: int | None = Field(default=None, ge=WINDOW_SECONDS[0], le=WINDOW_SECONDS[1])
    """Seconds by which the phone's clock may differ from the till's, for a till whose clock is always right:
    an older copy of a tap is refused, also after a restart. Without it only copies of what this run of the
    daemon has read are."""


class GoogleWallet(Table):
    """Google Wallet passes, for readers that do not decrypt by themselves."""

    collector_id: CollectorId = Field(examples=["20180608"])
    """The collector the passes may be given to."""
    key: KeyFiles = Field(examples=["google.pem"])
    """File with the collector's private key (P-256, PEM or DER), or a list of them, in the order in which a
    tap tries them."""
    key_version: KeyVersions = Field(default=[1])
    """Version under which the key's public half is registered with Google; of several keys a list."""
    objects: list[GoogleObject] = Field(default=["loyalty"], min_length=1)
    """Kinds of pass that identify a customer, in order of preference."""


class Wallet(Table):
    """Needed by readers that do not decrypt by themselves (`pcsc`, `pn532`); others bring keys of their own.

    At least one of `[wallet.apple]` and `[wallet.google]`.
    """

    apple: AppleWallet | None = None
    google: GoogleWallet | None = None


def _mode(value: object) -> object:
    if value == "passive":
        refuse("passive mode is not available yet", 'now: "active"')
    return value


class VtapReader(Table):
    """A VTAP reader on USB or a serial line."""

    name: Name | None = Field(default=None, examples=["counter"])
    """The reader's name in events and logs, unique; the driver's name if left out."""
    driver: Literal["vtap"] = "vtap"
    """Kind of reader."""
    port: PathText = Field(examples=["/dev/serial/by-id/usb-*VTAP*"])
    """The serial device, or a pattern (`*` `?` `[...]`) that matches exactly one."""
    baud: Baud = 9600
    """Line speed on RS-232 and RS-485; USB ignores it."""
    mode: Annotated[Literal["active"], BeforeValidator(_mode)] = "active"
    """`active`: the reader sends each tap by itself. `passive` is not available yet."""
    prefix: str = DEFAULT_PREFIX
    """What stands before a tap, exactly as `ComPortPrefix` or `SerialPrefix` in the reader's config.txt;
    empty means bare lines."""
    postfix: str = DEFAULT_POSTFIX
    """What stands behind a tap, exactly as `ComPortPostfix` or `SerialPostfix`."""


class PcscReader(Table):
    """Any PC/SC reader for contactless cards; passes are decrypted on the till, with the keys of `[wallet]`.

    An iPhone does not bring the pass up by itself at such a reader, unless `ecp` works with its model: the
    customer opens it first.
    """

    name: Name | None = Field(default=None, examples=["desk"])
    """The reader's name in events and logs, unique; the driver's name if left out."""
    driver: Literal["pcsc"]
    """`pcsc`."""
    match: Name = Field(examples=["ACR1252"])
    """Part of the reader's name in pcscd, in capitals or not; it must match exactly one."""
    cards: list[CardKind] = Field(default=[])
    """What of an ordinary card counts as a customer's value: `ndef` the text on an NFC Forum tag, `uid` the
    number of its chip. Nothing of them is secret: anybody can copy them."""
    ecp: Ecp = "off"
    """How the reader is made to send Apple's polling frame; see drivers/README.md, nobody has tried it yet.
    `transparent`: the till polls in a transparent session; `acr122u`: with the PN532 of an ACR122U;
    `flomio`: the commands of Flomio's firmware; `commands`: `ecp_commands`."""
    ecp_commands: list[ReaderCommand] = Field(default=[], max_length=COMMANDS_LIMIT)
    """Commands to the reader when it is opened, in hexadecimal, from its manual; with `ecp = "commands"`."""
    ecp_code: int | None = Field(default=None, ge=1, le=LAST_FUNCTION, examples=[3500])
    """The driver's function for commands to the reader. Found out if left out: asked for, then 1 and 3500."""
    ecp_flags: FrameFlags | None = Field(default=None, examples=["10 00"])
    """With `ecp = "transparent"`: the two bytes of transmission flags (90) sent with the frame, in
    hexadecimal; `""` sends none. Found out if left out: none, then `10 00` and `00 10`, until the reader
    takes the frame."""


class Pn532Reader(Table):
    """A PN532 board on a serial line; passes are decrypted on the till, with the keys of `[wallet]`.

    An iPhone brings the pass up by itself, as documents say: nobody has tried it with a real board yet.
    """

    name: Name | None = Field(default=None, examples=["desk"])
    """The reader's name in events and logs, unique; the driver's name if left out."""
    driver: Literal["pn532"]
    """`pn532`."""
    port: PathText = Field(examples=["/dev/serial/by-id/usb-*UART*"])
    """The serial device, or a pattern (`*` `?` `[...]`) that matches exactly one."""
    baud: Pn532Baud = 115200
    """Line speed; the chip is brought to it."""
    cards: list[CardKind] = Field(default=[])
    """What of an ordinary card counts as a customer's value: `ndef` the text on an NFC Forum tag, `uid` the
    number of its chip. Nothing of them is secret: anybody can copy them."""


class ReplayReader(Table):
    """No hardware: a recorded tape played as if a reader sent it, for training and tests."""

    name: Name | None = Field(default=None, examples=["counter"])
    """The reader's name in events and logs, unique; the driver's name if left out."""
    driver: Literal["replay"]
    """`replay`."""
    tape: PathText = Field(examples=["monday.tape"])
    """The tape's file."""
    loop: bool = False
    """Begin again at the end of the tape."""
    speed: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    """How fast to play: 2.0 is twice as fast."""


READERS: dict[str, type[Table]] = {
    "vtap": VtapReader,
    "pcsc": PcscReader,
    "pn532": Pn532Reader,
    "replay": ReplayReader,
}
DEFAULT_DRIVER = "vtap"
# Drivers of readers that do not decrypt by themselves: they need [wallet].
WITHOUT_KEYS = ("pcsc", "pn532")


def _available(reader: object) -> object:
    """Refuses a driver that is not there before its keys are judged by another driver's model."""
    if not isinstance(reader, dict) or "driver" not in reader:
        return reader
    driver = reader["driver"]
    if not isinstance(driver, str):
        refuse("must be text in quotes", f"one of: {', '.join(READERS)}", key="driver")
    if driver not in READERS:
        near = did_you_mean(driver, list(READERS))
        refuse(f"there is no driver {shown(driver)}", near or f"one of: {', '.join(READERS)}", key="driver")
    return reader


def _driver(reader: Any) -> str:
    return str(reader.get("driver", DEFAULT_DRIVER)) if isinstance(reader, dict) else DEFAULT_DRIVER


Reader = Annotated[
    Annotated[VtapReader, Tag("vtap")]
    | Annotated[PcscReader, Tag("pcsc")]
    | Annotated[Pn532Reader, Tag("pn532")]
    | Annotated[ReplayReader, Tag("replay")],
    Discriminator(_driver),
    BeforeValidator(_available),
]


class Pos(Table):
    """Where the point of sale reaches the daemon."""

    socket: SocketPath = "/run/tilltap/pos.sock"
    """Unix socket; its whole path has at most 107 bytes. Whoever may write to it may sell, unless
    `write_group` says otherwise."""
    write_group: Name | None = None
    """Unix group of the programs that may sell, redeem and refund; others that reach the socket may only
    look. Root and the daemon's user always may. Default: whoever reaches the socket."""
    tcp: Unavailable | None = None
    """Loopback TCP; not available yet."""
    token_file: Unavailable | None = None
    """Token for TCP; not available yet."""


class Ledger(Table):
    """Where points are recorded before anything is answered."""

    url: LedgerUrl = "sqlite:////var/lib/tilltap/ledger.db"
    """SQLite, only for a till that alone writes its passes: four slashes for an absolute path, three for one
    relative to this file. PostgreSQL, one database for all tills that serve the same passes:
    `postgresql://tilltap@ledger.lan/loyalty`, with libpq's parameters if need be."""
    password_file: PathText | None = Field(default=None, examples=["ledger.password"])
    """PostgreSQL only: file with the password, and nothing else. A bare name is looked up in
    `$CREDENTIALS_DIRECTORY` first. Without it libpq looks in its own places (`~/.pgpass`, a service file)."""
    spool: PathText | None = Field(default=None, examples=["/var/lib/tilltap/spool.db"])
    """PostgreSQL only: file that keeps closed sales while the server is out of reach. Default: one of its own
    for this till and ledger in `$STATE_DIRECTORY` or `/var/lib/tilltap`."""


class File(Table):
    """The whole configuration file."""

    till: Till = Field(default_factory=Till)
    program: Program
    loyalty: Loyalty
    wallet: Wallet | None = None
    reader: list[Reader] = Field(default_factory=list)
    pos: Pos = Field(default_factory=Pos)
    ledger: Ledger = Field(default_factory=Ledger)
