"""What keeps a relay from being overrun: limits shared by all workers, a breaker, and what its answers teach.

::

    limits = RelayLimits(rates=Rate.parse_all("14/s, 50000/d"), connections=3)
    governor = SharedGovernor("mail.example.org:587", "account-1", limits, RedisStore("redis://..."))
    client = SubmissionClient(config, governor=governor)

``interface`` says what the engine asks; start reading at ``shared``; ``redis_store`` needs the ``redis`` extra.
"""

from __future__ import annotations

from robust_email.smtp.governor.interface import (
    Governor,
    GovernorState,
    Observation,
    Permit,
    Probe,
    Store,
    StoreUnavailable,
    Wait,
)
from robust_email.smtp.governor.limits import BreakerPolicy, RelayLimits
from robust_email.smtp.governor.memory import MemoryStore
from robust_email.smtp.governor.rates import Rate, Unit
from robust_email.smtp.governor.shared import SharedGovernor
from robust_email.smtp.lane import Lane

__all__ = [
    "BreakerPolicy",
    "Governor",
    "GovernorState",
    "Lane",
    "MemoryStore",
    "Observation",
    "Permit",
    "Probe",
    "Rate",
    "RelayLimits",
    "SharedGovernor",
    "Store",
    "StoreUnavailable",
    "Unit",
    "Wait",
]
