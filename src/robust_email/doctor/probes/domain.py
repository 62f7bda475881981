"""The domain of the sender: may this mail speak for it (SPF, DKIM, DMARC), and do answers find their way (MX)?

What receivers make of it is theirs to decide. A record that is missing here is the usual reason why mail that the
relay accepted ends among the spam.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robust_email.doctor.plan import RecordsFailed
from robust_email.doctor.records import dnspython_records
from robust_email.providers import provider_of_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.plan import Records
    from robust_email.doctor.visit import Visit

_PRIVATE = frozenset({"", "localhost", "localdomain", "local", "test", "example", "invalid", "internal", "lan"})
"""Top-level domains that no receiver knows (RFC 6761 and habit)."""

_SPF: Final = {
    "gmail": "_spf.google.com",
    "workspace-relay": "_spf.google.com",
    "microsoft365": "spf.protection.outlook.com",
    "sendgrid": "sendgrid.net",
    "mailgun": "mailgun.org",
}
"""What a sender's SPF record includes, by the provider's name in ``robust_email.providers``."""


def examine(visit: Visit) -> Iterator[Finding]:
    """Ask the public DNS about the domain of the sender."""
    domain = _ascii_domain(visit.plan.sender)
    if not domain:
        yield visit.note("domain-not-examined", "no sender is known")
        return
    if "." not in domain or domain.rpartition(".")[2] in _PRIVATE:
        yield visit.note("domain-not-public", f"{domain} is no domain of the public DNS")
        return
    records = visit.surroundings.records or dnspython_records()
    if records is None:
        yield visit.note("domain-without-dnspython", f"SPF, DKIM and DMARC of {domain} were not looked at")
        return
    try:
        texts = records(domain, "TXT")
        if texts is None:
            yield visit.note("domain-unknown", f"{domain} does not exist in DNS")
            return
        yield _spf(visit, domain, texts)
        yield from _dkim(visit, domain, records)
        yield _dmarc(visit, domain, records)
        yield _mx(visit, domain, records)
    except RecordsFailed as exc:
        yield visit.note("domain-look-up-failed", f"records of {domain}: {exc}")


def _ascii_domain(sender: str) -> str:
    domain = sender.rpartition("@")[2].strip().lower().rstrip(".")
    try:
        return domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def _spf(visit: Visit, domain: str, texts: tuple[str, ...]) -> Finding:
    policies = [text for text in texts if text.lower().split(" ", maxsplit=1)[0] == "v=spf1"]
    if not policies:
        return visit.note("spf-missing", f"{domain} has no SPF record")
    if len(policies) > 1:
        return visit.note("spf-twice", f"{domain} has {len(policies)} SPF records")
    terms = policies[0].lower().split()
    if "+all" in terms or "all" in terms:
        return visit.note("spf-lets-everybody", f"{domain}: {policies[0]}")
    provider = provider_of_host(visit.config.host)
    needed = _SPF.get(provider.name) if provider else None
    redirected = any(term.startswith("redirect=") for term in terms)
    if needed and not redirected and f"include:{needed}" not in terms:
        return visit.note("spf-without-provider", f"{domain}: {policies[0]} does not include {needed}")
    return visit.note("spf", f"{domain}: {policies[0]}")


def _dkim(visit: Visit, domain: str, records: Records) -> Iterator[Finding]:
    if not visit.plan.dkim_selectors:
        yield visit.note("dkim-not-examined", "a DKIM key is found by its selector, and none was named")
    for selector in visit.plan.dkim_selectors:
        name = f"{selector}._domainkey.{domain}"
        keys = [text for text in records(name, "TXT") or () if "p=" in text]
        # "p=" with nothing behind it is a key that was revoked (RFC 6376 3.6.1).
        if any(part.strip().removeprefix("p=") for key in keys for part in key.split(";") if part.strip()[:2] == "p="):
            yield visit.note("dkim", f"{name} has a key")
        else:
            yield visit.note("dkim-missing", f"{name} has no key")


def _dmarc(visit: Visit, domain: str, records: Records) -> Finding:
    """Look at the domain, then at each parent (a receiver stops at the organisation's, which only a list can tell)."""
    labels = domain.split(".")
    for start in range(len(labels) - 1):
        name = "_dmarc." + ".".join(labels[start:])
        policies = [text for text in records(name, "TXT") or () if text.replace(" ", "").lower().startswith("v=dmarc1")]
        if policies:
            return visit.note("dmarc", f"{name}: {policies[0]}")
    return visit.note("dmarc-missing", f"{domain} has no DMARC record")


def _mx(visit: Visit, domain: str, records: Records) -> Finding:
    servers = records(domain, "MX") or ()
    hosts = [server.split()[-1].rstrip(".") for server in servers if server.split()]
    if not any(hosts):  # "." alone says that the domain takes no mail (RFC 7505)
        return visit.note("mx-missing", f"{domain} takes no mail: {'a null MX' if servers else 'no MX record'}")
    return visit.note("mx", f"mail to {domain} goes to {', '.join(hosts[:3])}")
