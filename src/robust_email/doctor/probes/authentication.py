"""AUTH (RFC 4954), by the mechanism that the library itself would choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robust_email.doctor.causes import CAUSES
from robust_email.doctor.concealment import Concealment
from robust_email.doctor.providers import provider_of
from robust_email.doctor.trouble import Trouble, slowness, trouble
from robust_email.smtp import TlsMode
from robust_email.smtp.login import Login
from robust_email.smtp.opening import authenticate
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit

_HINTS: Final = {
    "Google": "Google takes an app password (the account needs two-step verification) or OAuth, not its own password.",
    "Microsoft 365": "Microsoft 365 needs SMTP AUTH switched on for the mailbox, and is ending passwords: use OAuth.",
    "SendGrid": "SendGrid's user name is the word 'apikey', and its password the API key.",
}
_SES: Final = (
    "SES has SMTP credentials of its own, made in its console; IAM keys are not taken, and each region has its own."
)


def examine(visit: Visit) -> Iterator[Finding]:
    """Log in."""
    line, credentials = visit.line, visit.config.credentials
    if line is None:
        return
    if credentials is None:
        visit.ready = True
        if visit.extensions.auth_mechanisms:
            yield visit.note("auth-unused", "the server offers a log-in and none is configured")
        else:
            yield visit.note("auth", "no log-in is configured, and none is offered")
        return
    line.stream.new_step()
    error = None
    with visit.timed() as watch:
        try:
            login = Login.now(visit.config, visit.opening_deadline())
            config = login.fitted(visit.config) if login else visit.config
            credentials = config.credentials or credentials
            visit.conceal = Concealment(credentials)
            authenticate(line.dialogue, config, credentials, visit.extensions, visit.opening_deadline())
        except Trouble as exc:
            error = exc
    visit.opening_seconds += watch.seconds
    if error is not None:
        yield _explained(visit, trouble(visit, error, watch.seconds))
        visit.hang_up()
        return
    visit.ready = True
    offered = ", ".join(visit.extensions.auth_mechanisms)
    yield visit.note("auth", f"logged in; the server offers {offered}", seconds=watch.seconds)
    yield from slowness(visit, Phase.AUTH, watch.seconds)


def _explained(visit: Visit, finding: Finding) -> Finding:
    """Say more where more is known: of the offer before TLS, of mechanisms, of the provider."""
    code = finding.code
    if code == "auth-missing" and visit.extensions.auth_mechanisms:
        return visit.note("auth-no-common-mechanism", finding.found, seconds=finding.seconds)
    if code == "auth-missing" and visit.offered_in_clear.auth_mechanisms:
        offered = ", ".join(visit.offered_in_clear.auth_mechanisms)
        found = f"AUTH {offered} was offered before STARTTLS, and nothing after it"
        return visit.note("auth-in-clear-only", found, seconds=finding.seconds)
    if code in {"auth-missing", "auth-clear-text"} and visit.config.tls.mode is TlsMode.NONE:
        if code == "auth-missing" and "STARTTLS" in visit.extensions:
            return visit.note("auth-needs-tls", "no AUTH is offered before STARTTLS", seconds=finding.seconds)
        return finding
    hint = _hint(visit.config.host)
    if hint and code in {"auth-refused", "auth-needs-app-password", "auth-switched-off"}:
        remedy = f"{hint} {CAUSES[code].remedy}"
        return visit.note(code, finding.found, seconds=finding.seconds, remedy=remedy)
    return finding


def _hint(host: str) -> str | None:
    if host.startswith("email-smtp.") and host.endswith(".amazonaws.com"):
        return _SES
    provider = provider_of(host)
    return _HINTS.get(provider.name) if provider else None
