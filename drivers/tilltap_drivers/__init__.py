"""Reader drivers: bytes of a device in, plain values out. Nothing here knows of loyalty."""
