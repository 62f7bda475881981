"""What a code looks like and where it comes from. Pure, apart from ``SECRET_KEY``.

A code is never stored: it is derived from ``SECRET_KEY`` and the row's random nonce each time it is needed, in the
worker that writes the mail and in the request that checks it. So neither the database nor the broker holds a secret,
and a code for one purpose is worth nothing for another.
"""

from __future__ import annotations

import secrets
from typing import Final

from django.utils.crypto import constant_time_compare, salted_hmac

ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no code is a word, and no digits, so that none is mistaken for a letter."""
LENGTH: Final = 8
"""Letters. 20^8 is 34.6 bits, for at most ``MAX_GUESSES`` guesses (ASVS 6.5.4 asks for 20 bits)."""


def new_nonce() -> str:
    """Return the random part of a new code, 32 hexadecimal digits; not a secret without ``SECRET_KEY``."""
    return secrets.token_hex(16)


def derive_code(*, purpose: str, user_id: int, nonce: str) -> str:
    """Return the code as people read it: ``XXXX-XXXX``."""
    number = int.from_bytes(
        salted_hmac(f"authentication.code.{purpose}", f"{user_id}:{nonce}", algorithm="sha256").digest()
    )
    letters = []
    for _ in range(LENGTH):
        number, index = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[index])
    return f"{''.join(letters[: LENGTH // 2])}-{''.join(letters[LENGTH // 2 :])}"


def same_code(expected: str, typed: str) -> bool:
    """Compare in constant time, forgiving case, spaces and dashes."""
    return constant_time_compare(_letters(expected), _letters(typed))


def _letters(code: str) -> str:
    return "".join(letter for letter in code.upper() if letter.isalnum())
