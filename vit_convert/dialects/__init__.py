"""Naming schemes: one file with a table of rules each, and what chooses among them."""

from vit_convert.dialects.ledger import Ledger
from vit_convert.dialects.options import chosen, named
from vit_convert.dialects.rules import Dialect
from vit_convert.dialects.selection import (
    canonical_patterns,
    dialect,
    dialects,
    keys_have_bias,
    read_as_canonical,
    rules_of,
    scheme_of,
)
from vit_convert.dialects.writing import write_with

__all__ = [
    "Dialect",
    "Ledger",
    "canonical_patterns",
    "chosen",
    "dialect",
    "dialects",
    "keys_have_bias",
    "named",
    "read_as_canonical",
    "rules_of",
    "scheme_of",
    "write_with",
]
