"""AUTH (RFC 4954), by the mechanism that the library itself would choose."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from robust_email.doctor.causes import CAUSES
from robust_email.doctor.concealment import Concealment
from robust_email.doctor.trouble import Trouble, slowness, trouble
from robust_email.providers import provider_of_host
from robust_email.smtp import TlsMode
from robust_email.smtp.login import Login
from robust_email.smtp.opening import authenticate
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit

_LOG_IN_WORDS: Final = re.compile("(?i)password|credentials|token|SMTP AUTH|user name")
_ABOUT_THE_ACCOUNT: Final = {"auth-refused", "auth-needs-app-password", "auth-switched-off"}
"""Causes for which a provider's own habits matter."""


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
            visit.conceal = Concealment(credentials, visit.config.proxy)
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
    provider = provider_of_host(visit.config.host)
    habits = [quirk for quirk in provider.quirks if _LOG_IN_WORDS.search(quirk)] if provider else []
    if provider and habits and code in _ABOUT_THE_ACCOUNT:
        remedy = f"{provider.title}: {' '.join(habits)} {CAUSES[code].remedy}"
        return visit.note(code, finding.found, seconds=finding.seconds, remedy=remedy)
    return finding
