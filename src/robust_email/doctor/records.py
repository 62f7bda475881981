"""DNS records by dnspython: the only file that imports it. Not installed, the doctor leaves the sender's domain out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robust_email.doctor.plan import RecordsFailed

if TYPE_CHECKING:
    from robust_email.doctor.plan import Records

_PATIENCE: Final = 5.0
"""Seconds per question, over all name servers."""


def dnspython_records() -> Records | None:
    """Return a way to ask for records, or ``None`` where dnspython is not installed."""
    try:
        import dns.exception
        import dns.resolver
    except ImportError:
        return None

    def records(name: str, kind: str) -> tuple[str, ...] | None:
        try:
            answer = dns.resolver.resolve(name, kind, lifetime=_PATIENCE, search=False)
        except dns.resolver.NXDOMAIN:
            return None
        except dns.resolver.NoAnswer:
            return ()
        except (dns.exception.DNSException, OSError, ValueError) as exc:
            raise RecordsFailed(type(exc).__name__) from exc
        if kind == "TXT":
            return tuple(b"".join(each.strings).decode("utf-8", "replace") for each in answer)
        return tuple(each.to_text() for each in answer)

    return records
