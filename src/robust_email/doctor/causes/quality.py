"""Codes of what works and could be better: speed, reuse of sessions, the sender's domain; and of the doctor itself."""

from __future__ import annotations

from typing import Final

from robust_email.doctor.causes.cause import Cause
from robust_email.doctor.findings import Severity

_OK, _INFO, _WARNING, _ERROR = Severity.OK, Severity.INFO, Severity.WARNING, Severity.ERROR

QUALITY: Final = {
    # -- capacity
    "latency": Cause(_OK),
    "reuse": Cause(_OK),
    "reuse-refused": Cause(
        _WARNING,
        "The server ends a session after one mail: set EMAIL_POOL_MAX_MESSAGES = 1, so that none is tried in vain.",
    ),
    "messages-limited": Cause(_INFO, "The library keeps to it by itself."),
    "pool-above-provider": Cause(
        _WARNING, "Divide what the provider allows by the number of web and worker processes, and set EMAIL_POOL_SIZE."
    ),
    "idle-kept": Cause(_OK),
    "idle-limit": Cause(_OK),
    "idle-limit-below-pool": Cause(
        _WARNING, "Set EMAIL_POOL_MAX_IDLE below the server's limit; a session that it closed costs a new one."
    ),
    # -- the sender's domain
    "domain-not-examined": Cause(_INFO),
    "domain-without-dnspython": Cause(_INFO, "pip install 'django-robust-email[dns]' lets the doctor look."),
    "domain-not-public": Cause(
        _WARNING, "Set DEFAULT_FROM_EMAIL to an address of a domain of yours; receivers refuse mail from this one."
    ),
    "domain-unknown": Cause(_WARNING, "The domain does not exist in DNS; most receivers refuse mail from it."),
    "domain-look-up-failed": Cause(_INFO, "DNS did not answer; see the name servers above."),
    "spf": Cause(_OK),
    "spf-missing": Cause(
        _WARNING, "Publish the SPF record that your provider names (TXT, `v=spf1 ... -all`, RFC 7208)."
    ),
    "spf-twice": Cause(_WARNING, "Two SPF records count as none (permerror, RFC 7208 4.5): merge them."),
    "spf-lets-everybody": Cause(_WARNING, "`+all` lets everybody send in your name: end it with `~all` or `-all`."),
    "spf-without-provider": Cause(_WARNING, "Add the provider's `include:` to the SPF record."),
    "dmarc": Cause(_OK),
    "dmarc-missing": Cause(
        _WARNING, "Publish a DMARC record (TXT at _dmarc.DOMAIN, `v=DMARC1; p=none; rua=...` to begin with, RFC 7489)."
    ),
    "dkim": Cause(_OK),
    "dkim-not-examined": Cause(_INFO, "Name the selector with --dkim-selector; the provider's manual has it."),
    "dkim-missing": Cause(_WARNING, "Publish the key that your provider shows for this selector."),
    "mx": Cause(_OK),
    "mx-missing": Cause(
        _WARNING, "Bounces and replies find no way back, and some receivers refuse mail from such a domain."
    ),
    # -- the doctor
    "doctor-at-a-loss": Cause(
        _ERROR, "A fault of the doctor's own, not of the relay: the other findings stand. Please report it."
    ),
}
