"""SASLprep (RFC 4013): one spelling for user names and passwords, before they are hashed by SCRAM."""

from __future__ import annotations

import stringprep
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """Return the prepared form of a query string (RFC 3454 7: unassigned code points are let through).

    Raises:
        ValueError: a prohibited character, or right-to-left text mixed with left-to-right. The text is not quoted.
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(prohibited(char) for prohibited in _PROHIBITED for char in prepared):
        raise ValueError("SASLprep (RFC 4013) does not allow a control or special character that is in it.")
    if any(stringprep.in_table_d1(char) for char in prepared):
        edges = stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])
        if not edges or any(stringprep.in_table_d2(char) for char in prepared):
            raise ValueError("SASLprep (RFC 4013) does not allow right-to-left and left-to-right text mixed.")
    return prepared
