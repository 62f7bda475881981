"""Who logs in to one session: the credentials of the moment it was opened, and whether they still hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from robust_email.smtp.credentials import CredentialsUnavailable
from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.opening import SessionUnavailable
from robust_email.smtp.outcome import classify_failure
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import ReplyClass

if TYPE_CHECKING:
    from robust_email.smtp.config import Credentials, SmtpConfig
    from robust_email.smtp.credentials import CredentialsProvider
    from robust_email.smtp.net.deadline import Deadline
    from robust_email.smtp.outcome import Verdict


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials from a provider, as they were when a session was opened."""

    credentials: Credentials
    provider: CredentialsProvider

    @classmethod
    def now(cls, config: SmtpConfig, deadline: Deadline) -> Login | None:
        """Ask the configuration's provider; ``None`` where there is none. Raises ``SessionUnavailable``."""
        provider = config.credentials.provider if config.credentials else None
        if provider is None:
            return None
        try:
            return cls(provider.credentials(deadline.remaining()), provider)
        except CredentialsUnavailable as exc:
            kind = FailureKind.LOCAL if exc.permanent else FailureKind.NO_CREDENTIALS
            raise _unavailable(kind, f"there are no credentials: {exc}") from exc
        except Exception as exc:
            # Somebody's own function; its words may hold the secret, so the kind of error has to do.
            text = f"there are no credentials: what gives them raised {type(exc).__name__}"
            raise _unavailable(FailureKind.NO_CREDENTIALS, text) from exc

    def fitted(self, config: SmtpConfig) -> SmtpConfig:
        """Return the configuration with these credentials in it."""
        allowed = config.credentials.mechanisms if config.credentials else ()
        return replace(config, credentials=replace(self.credentials, mechanisms=self.credentials.mechanisms or allowed))

    @property
    def outdated(self) -> bool:
        """Whether other credentials hold by now, so that the session should end."""
        return not self.provider.still_good(self.credentials)

    def note_refusal(self, verdict: Verdict) -> bool:
        """After a session that could not be opened: if the log-in was refused tell the provider; has it others?"""
        reply = verdict.reply
        if verdict.phase is not Phase.AUTH or reply is None or reply.klass is not ReplyClass.PERMANENT:
            return False
        return self.provider.refused(self.credentials)


def _unavailable(kind: FailureKind, text: str) -> SessionUnavailable:
    return SessionUnavailable(classify_failure(Failure(kind, Phase.AUTH, text)))
