"""tilltap: a phone tapped at a shop's till becomes loyalty points on its wallet pass."""

__version__ = "0.1.0"
