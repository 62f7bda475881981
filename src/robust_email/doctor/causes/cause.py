"""The value that stands behind a code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robust_email.doctor.findings import Severity


@dataclass(frozen=True, slots=True)
class Cause:
    """``remedy`` is a sentence or more for whoever runs the project; empty where nothing is to be done."""

    severity: Severity
    remedy: str = ""
