"""The wallet of plain readers, with its keys loaded from their files."""

from __future__ import annotations

import time
from pathlib import Path

from tilltap.config.secrets import SecretError, load_key_file
from tilltap.config.settings import AppleSettings, GoogleSettings, WalletSettings
from tilltap_drivers.nfc.seen import Seen
from tilltap_drivers.nfc.wallet import AppleWallet, GoogleKey, GoogleWallet, Wallet


def load_wallet(settings: WalletSettings, base_dir: Path) -> Wallet:
    """SecretError: a key file that cannot be used, or the package for keys is not installed."""
    try:
        return Wallet(
            _apple(settings.apple, base_dir) if settings.apple else None,
            _google(settings.google, base_dir) if settings.google else None,
            seen=Seen(since=int(time.time())),
        )
    except ImportError as error:
        raise SecretError(
            f"[wallet] needs the package {(error.name or '').partition('.')[0]}",
            "pip install 'tilltap[pcsc]', or take [wallet] out",
        ) from None


def _apple(settings: AppleSettings, base_dir: Path) -> AppleWallet:
    keys = tuple(load_key_file(name, base_dir) for name in settings.keys)
    return AppleWallet(settings.pass_type_ids, keys, window=settings.window)


def _google(settings: GoogleSettings, base_dir: Path) -> GoogleWallet:
    keys = tuple(GoogleKey(version, load_key_file(name, base_dir)) for version, name in settings.keys)
    return GoogleWallet(settings.collector_id, keys, settings.objects)
