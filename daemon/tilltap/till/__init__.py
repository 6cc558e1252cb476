"""The pipeline: taps, sales and customers, each change one ledger transaction."""
