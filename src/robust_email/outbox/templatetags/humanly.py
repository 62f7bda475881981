"""Numbers as people read them."""

from __future__ import annotations

from typing import Final

from django import template

register = template.Library()

_UNITS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))
_THIN_SPACE: Final = "\N{NARROW NO-BREAK SPACE}"
_MILLISECONDS_BELOW: Final = 0.9995


@register.filter
def duration(seconds: float | None) -> str:
    """Write seconds with two or three digits: 12 ms, 3.4 s, 5 min, 2.5 h, 3 d; a dash for None."""
    if seconds is None:
        return "\N{EN DASH}"
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.3g}{_THIN_SPACE}{unit}"
    if 0 < seconds < _MILLISECONDS_BELOW:
        return f"{max(1, round(seconds * 1000))}{_THIN_SPACE}ms"
    return f"{seconds:.3g}{_THIN_SPACE}s"


@register.filter
def grouped(number: int) -> str:
    """Write a whole number in groups of three digits."""
    return f"{number:,}".replace(",", _THIN_SPACE)
