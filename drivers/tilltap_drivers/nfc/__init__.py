"""Apple VAS and Google Smart Tap for a terminal, and ordinary NFC tags: pure, and usable on its own.

Nothing here knows a reader, a socket, a clock or a source of randomness; bytes go in and values come out.
Begin with `converse`: it talks to whatever was held to the reader, one APDU at a time. `wallet` holds the
settings, `keys` loads the private keys, `phones` are the other side, for tests and demonstrations.

Both wallet protocols belong to their owners and are described here as public sources describe them.
"""
