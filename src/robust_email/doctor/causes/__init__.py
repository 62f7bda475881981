"""Everything the doctor can find, by its stable code: how bad it is, and what to do.

What was found in the case at hand (numbers, names, the server's words) is said by the probe; what follows from it is
said here, once, so that it can be read, tested and printed in the documentation as one table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robust_email.doctor.causes.dialogue import DIALOGUE
from robust_email.doctor.causes.encryption import ENCRYPTION
from robust_email.doctor.causes.network import NETWORK
from robust_email.doctor.causes.quality import QUALITY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robust_email.doctor.causes.cause import Cause

CAUSES: Final[Mapping[str, Cause]] = {**NETWORK, **ENCRYPTION, **DIALOGUE, **QUALITY}
"""In the order in which they can be met."""
