"""Remedies as people read them: the long one on DNS in containers is said in full once, and then referred to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robust_email.doctor.causes.network import CONTAINER_DNS

if TYPE_CHECKING:
    from robust_email.doctor.findings import Finding

_AGAIN: Final = "In a container: as said above."


class Remedies:
    """Remembers what one reader has been told."""

    def __init__(self) -> None:
        """Begin with a reader who knows nothing."""
        self._said = False

    def __call__(self, finding: Finding) -> str:
        """Return the remedy in the words for this reader."""
        if CONTAINER_DNS not in finding.remedy:
            return finding.remedy
        text = finding.remedy.replace(CONTAINER_DNS, _AGAIN) if self._said else finding.remedy
        self._said = True
        return text
