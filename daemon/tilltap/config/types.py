"""The kinds of value a configuration holds, each refusing what it is not with a hint at what it is. Pure.

Validators that need more than the value find it in the context of the validation: `currency` (of the
programme, None while that is wrong itself) and `base_dir` (folder of the file).
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Never
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from tilltap.config.mistakes import did_you_mean, shown
from tilltap.config.postgres_url import NUMBERS, OPTIONS, SSL_MODES, Address
from tilltap.model import Currency
from tilltap_drivers.nfc.wallet import CANDIDATES_LIMIT

# sockaddr_un.sun_path is 108 bytes with its final NUL (unix(7)).
SOCKET_PATH_BYTES = 107
# Longest name of a thing: what a POS may send as an id (contract 3.1), and enough for a line on a receipt.
NAME_CHARACTERS = 64
# Bytes of a command to a PC/SC reader itself: an APDU without extended length (ISO/IEC 7816-4).
COMMAND_LIMIT = 261
# Bytes of the flags of a raw frame (PC/SC part 3, supplement 2).
FLAGS_BYTES = 2


def refuse(what: str, hint: str, *, key: str = "") -> Never:
    """Ends the validation of a value with a mistake, for a table that of one `key` in it."""
    raise PydanticCustomError("mistake", "{what} ({hint})", {"what": what, "hint": hint, "key": key})


def _context(info: ValidationInfo, key: str) -> Any:
    assert info.context is not None, "a configuration is validated with its context"
    return info.context[key]


def text(value: object) -> str:
    if not isinstance(value, str):
        hint = f'write "{shown(value)}"' if isinstance(value, int | float) else 'write it as "..."'
        refuse("must be text in quotes", hint)
    return value


def _name(value: object) -> str:
    name = text(value)
    if not name:
        refuse("is empty", "leave the key out for its default, or give it a text")
    return _label(name)


def _label(value: object) -> str:
    label = text(value)
    if not label.isprintable() or label != label.strip():
        refuse("has unprintable characters or blanks at its ends", "use plain text on one line")
    if len(label) > NAME_CHARACTERS:
        refuse(f"is {len(label)} characters long", f"at most {NAME_CHARACTERS}")
    return label


def _template(value: object) -> str:
    template = text(value)
    if any(not c.isprintable() and c != "\n" for c in template):
        refuse("has unprintable characters", "use plain text")
    return template


# Stands in for a currency that is not known: the most decimals any currency has.
_ANY_CURRENCY = Currency("KWD")


def _money(value: object, info: ValidationInfo) -> int:
    currency: Currency = _context(info, "currency") or _ANY_CURRENCY
    if isinstance(value, int | float) and not isinstance(value, bool):
        example = f"{abs(value):.{currency.decimals}f}" if abs(value) < 10**9 else "8.00"
        refuse("money is a decimal string, not a number", f'write "{example}"')
    try:
        return currency.parse(value)
    except ValueError as error:
        named = f" in {currency.code}" if currency is not _ANY_CURRENCY else ""
        what = shown(value) if isinstance(value, str) else "this"
        refuse(f"{what} is not an amount{named}", str(error))


def _price(value: object, info: ValidationInfo) -> int:
    minor = _money(value, info)
    if not minor:
        refuse("must be more than zero", "an amount of nothing would count without end")
    return minor


def _currency(value: object) -> str:
    code = text(value)
    if not re.fullmatch(r"[A-Z]{3}", code):
        upper = code.upper()
        hint = (
            f'write "{upper}"' if re.fullmatch(r"[A-Z]{3}", upper) else 'three capital letters such as "GBP"'
        )
        refuse("must be a three-letter ISO 4217 code", hint)
    return code


def _day_starts(value: object) -> str:
    clock = text(value)
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", clock):
        refuse(f"{shown(clock)} is not a time of day", 'write HH:MM in local time, such as "04:00"')
    return clock


_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def _url(value: object) -> str:
    """An https address, or http to this machine, without the slash at its end. Never quoted back: it might
    hold what it must not hold.
    """
    url = text(value)
    hint = 'write it like "https://api.passentry.com"'
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        refuse("is not a web address", hint)
    if "@" in parts.netloc:
        refuse("must not hold a user name or password", "the key belongs in the file that api_key_file names")
    if parts.scheme not in ("https", "http") or not _HOST.fullmatch(parts.netloc) or port == 0:
        refuse("is not a web address", hint)
    if not re.fullmatch(r"[!-~]+", url) or parts.query or parts.fragment or url[-1] in "?#":
        refuse("must be an address and a path, nothing else", hint)
    if parts.scheme == "http" and not _is_loopback(host):
        refuse("plain http would send the key readable over the network", "use https; http only to 127.0.0.1")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _path(value: object) -> str:
    path = text(value)
    if not path or not path.isprintable():
        refuse("is not a path", "write the path of a file")
    if path.startswith("~"):
        refuse("~ is not replaced here", "write the whole path, or one relative to this file")
    return path


def _socket(value: object, info: ValidationInfo) -> str:
    path = _path(value)
    size = len(os.fsencode(resolve(_context(info, "base_dir"), path)))
    if size > SOCKET_PATH_BYTES:
        refuse(
            f"the socket's whole path has {size} bytes",
            f"at most {SOCKET_PATH_BYTES} are possible: use a folder nearer the root, such as /run/tilltap",
        )
    return path


def resolve(base_dir: Path, path: str) -> Path:
    """A path of the file as an absolute one: relative paths are relative to the file's folder."""
    return Path(os.path.normpath(base_dir / path))


_SQLITE = "sqlite:///"


def _ledger_url(value: object) -> str:
    """An SQLite URL in SQLAlchemy's form: three slashes and a relative path, or four for an absolute one; or
    libpq's form of the address of a PostgreSQL database, without a password.
    """
    url = text(value)
    if re.match(r"postgres(ql)?(\+\w+)?:", url):
        return _postgres_url(url)
    path = url.removeprefix(_SQLITE)
    if (
        not url.startswith(_SQLITE)
        or not path.strip("/")
        or not path.isprintable()
        or re.search(r"[?#]", path)
    ):
        refuse("is not the address of a ledger", 'write it like "sqlite:////var/lib/tilltap/ledger.db"')
    if path.startswith((":memory:", "file:")):
        refuse("a ledger in memory would lose points", 'name a file: "sqlite:////var/lib/tilltap/ledger.db"')
    return url


def _postgres_url(url: str) -> str:
    """As libpq reads it (several hosts, `service=`, a socket's folder as `host=`). Never quoted back."""
    if not url.startswith(("postgresql://", "postgres://")):
        refuse("is not the address of a ledger", 'write it like "postgresql://tilltap@ledger.lan/loyalty"')
    if not re.fullmatch(r"[!-~]+", url) or "#" in url:
        refuse("has characters that an address cannot hold", "percent-encode them, a blank as %20")
    try:
        address = Address(url)
    except ValueError:
        refuse("is not the address of a ledger", 'write it like "postgresql://tilltap@ledger.lan/loyalty"')
    if address.holds_secret:
        refuse("must not hold a password", "put it in a file and name that in ledger.password_file")
    if address.has_stray_sign:
        refuse("has an @ after its ?", "write it as %40; a password goes into ledger.password_file")
    if address.is_badly_encoded:
        refuse("has a % that stands for nothing", "write a % itself as %25")
    _check_servers(address)
    for name, option in address.options:
        if name not in OPTIONS:
            known = did_you_mean(name, sorted(OPTIONS)) or "see the parameters of libpq"
            refuse(f"unknown option {shown(name)}", known)
        if option is None:
            refuse(f"option {shown(name)} has no value", f"write it like {name}=...")
        if name in NUMBERS and not re.fullmatch("-?[0-9]{1,9}", option):
            refuse(f"option {shown(name)} is no number", f"write it like {name}=2")
        if name == "sslmode" and option not in SSL_MODES:
            refuse(f"sslmode cannot be {shown(option)}", f"one of {', '.join(SSL_MODES)}")
    return url


def _check_servers(address: Address) -> None:
    if any(address.bad_ports()):
        refuse("has a port that is none", "a number from 1 to 65535, after the host and a colon")
    try:
        servers = address.servers()
    except ValueError:
        refuse("has not as many ports as hosts", "write each host with its own, like a.lan:5432,b.lan:5433")
    if len(set(servers)) < len(servers):
        refuse("names a host twice", "name each server once, with its port if that differs")


def is_shared(url: str) -> bool:
    """Whether several tills may use this ledger."""
    return not url.startswith(_SQLITE)


def ledger_path(base_dir: Path, url: str) -> Path:
    return resolve(base_dir, url.removeprefix(_SQLITE))


def _pass_type_ids(value: object) -> list[str]:
    """One pass type id or a list of them, as a list (contract section 2)."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        refuse("must be text in quotes, or a list of it", 'write it like "pass.com.example.coffee"')
    if not 1 <= len(names) <= CANDIDATES_LIMIT:
        refuse(
            f"names {len(names)} kinds of pass", f"each tap asks for each of them: 1 to {CANDIDATES_LIMIT}"
        )
    for name in names:
        if not re.fullmatch(r"[!-~]{1,255}", name):
            refuse(f"{shown(name)} is not a pass type id", 'write it like "pass.com.example.coffee"')
    return names


def _key_files(value: object) -> list[str]:
    """One path or a list of them, as a list."""
    paths = [_path(path) for path in (value if isinstance(value, list) else [value])]
    if not 1 <= len(paths) <= CANDIDATES_LIMIT:
        refuse(f"names {len(paths)} keys", f"a tap may try each of them: 1 to {CANDIDATES_LIMIT}")
    return paths


def _key_versions(value: object) -> list[int]:
    """One number of 32 bits or a list of them, as a list."""
    numbers: list[Any] = value if isinstance(value, list) else [value]
    for number in numbers:
        if type(number) is not int or not 0 <= number < 2**32:
            refuse(f"{shown(number)} is not a key version", f"a whole number from 0 to {2**32 - 1}")
    if not numbers or len(set(numbers)) < len(numbers):
        refuse("names a version twice, or none", "each key has its own")
    return numbers


def _collector_id(value: object) -> str:
    number = text(value)
    if not re.fullmatch(r"[0-9]{1,10}", number) or not 0 < int(number) < 2**32:
        refuse(f"{shown(number)} is not a collector id", "a number of 32 bits, usually eight digits")
    return number


def _hexadecimal(value: object, hint: str) -> bytes:
    try:
        return bytes.fromhex(text(value))
    except ValueError:
        refuse(f"{shown(value)} is not bytes in hexadecimal", hint)


def _reader_command(value: object) -> str:
    hint = 'write it like "E0 00 00 20 01 45"'
    size = len(_hexadecimal(value, hint))
    if not 1 <= size <= COMMAND_LIMIT:
        refuse(f"has {size} bytes (a command has 1 to {COMMAND_LIMIT})", hint)
    return text(value)


def _frame_flags(value: object) -> str:
    hint = 'write "10 00" or "00 10", or "" for none'
    size = len(_hexadecimal(value, hint))
    if size not in (0, FLAGS_BYTES):
        refuse(f"has {size} bytes, not {FLAGS_BYTES}", hint)
    return text(value)


def _unavailable(_: object) -> Any:
    refuse("not available yet", "remove it; a later version will bring it")


def _schema(**schema: object) -> WithJsonSchema:
    return WithJsonSchema(schema)


_AMOUNT = r"^[0-9]{1,9}(\.[0-9]{1,3})?$"

Name = Annotated[str, BeforeValidator(_name), _schema(type="string", minLength=1, maxLength=NAME_CHARACTERS)]
Label = Annotated[str, BeforeValidator(_label), _schema(type="string", maxLength=NAME_CHARACTERS)]
MessageText = Annotated[str, BeforeValidator(_template), _schema(type="string")]
Money = Annotated[int, PlainValidator(_money), _schema(type="string", pattern=_AMOUNT)]
Price = Annotated[int, PlainValidator(_price), _schema(type="string", pattern=_AMOUNT)]
CurrencyCode = Annotated[str, BeforeValidator(_currency), _schema(type="string", pattern="^[A-Z]{3}$")]
TimeOfDay = Annotated[
    str, BeforeValidator(_day_starts), _schema(type="string", pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")
]
Url = Annotated[str, BeforeValidator(_url), _schema(type="string", pattern="^https?://")]
PathText = Annotated[str, BeforeValidator(_path), _schema(type="string", minLength=1)]
SocketPath = Annotated[str, BeforeValidator(_socket), _schema(type="string", minLength=1)]
LedgerUrl = Annotated[
    str, BeforeValidator(_ledger_url), _schema(type="string", pattern="^(sqlite:///|postgres(ql)?://)")
]
PassTypeIds = Annotated[
    list[str],
    BeforeValidator(_pass_type_ids),
    _schema(anyOf=[{"type": "string"}, {"type": "array", "items": {"type": "string"}}]),
]
KeyFiles = Annotated[
    list[str],
    BeforeValidator(_key_files),
    _schema(anyOf=[{"type": "string"}, {"type": "array", "items": {"type": "string"}}]),
]
_VERSION = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
KeyVersions = Annotated[
    list[int],
    BeforeValidator(_key_versions),
    _schema(anyOf=[_VERSION, {"type": "array", "items": _VERSION}]),
]
_HEXADECIMAL = _schema(type="string", pattern="^([0-9A-Fa-f]{2} *)*$")
ReaderCommand = Annotated[str, BeforeValidator(_reader_command), _HEXADECIMAL]
FrameFlags = Annotated[str, BeforeValidator(_frame_flags), _HEXADECIMAL]
CollectorId = Annotated[str, BeforeValidator(_collector_id), _schema(type="string", pattern="^[0-9]{1,10}$")]
Unavailable = Annotated[Any, BeforeValidator(_unavailable), WithJsonSchema({"not": {}})]
