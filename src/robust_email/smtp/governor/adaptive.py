"""What the relay can take now, learnt from its answers. Pure.

Concurrency follows Postfix's scheduler (SCHEDULER_README): with N connections allowed, N successes raise the limit by
one, and the *first* of N signs of pressure lowers it by one; so a single bad moment costs little, and a relay that says
"too many" again and again is left alone soon. Rates are cut by a third and won back over two windows. A reply may name
a pause. Refused log-ins hold back the whole account, since providers lock accounts that keep trying.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robust_email.smtp.failure import FailureKind
from robust_email.smtp.governor.interface import Wait
from robust_email.smtp.outcome import Disposition
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import ReplyClass

if TYPE_CHECKING:
    from robust_email.smtp.outcome import Verdict

CUT = 2 / 3
LEAST = 0.05
"""Of the configured rates, however much pressure there is."""
WINDOWS_TO_RECOVER = 2
ONE_BURST = 1.0
"""Seconds within which signs of pressure are one: many sessions hear of the same thing at once."""
MEMORY = 60.0
"""Seconds after which earlier pressure is forgotten."""
FIRST_LOGIN_PAUSE, LONGEST_LOGIN_PAUSE = 5.0, 900.0
LONGEST_NAMED_PAUSE = 3_600.0

SECURITY_OR_POLICY = 7
NOT_ACCEPTING = (3, 2)
"""RFC 3463 3.8 and 3.4: "system not accepting network messages"; Microsoft's 432 4.3.2 is about connections."""

_UNITS = {"s": 1, "m": 60, "h": 3600}
_NAMED_PAUSE = re.compile(
    r"\b(?:again|retry|wait|after|in)\b[^.;]{0,40}?\b(\d{1,5})\s*(s|sec|second|m|min|minute|h|hour)s?\b", re.IGNORECASE
)
_BUSY_FAILURES = frozenset({FailureKind.TIMEOUT, FailureKind.CONNECTION_REFUSED})


def is_pressure(verdict: Verdict) -> bool:
    """Tell whether the relay said, or showed, that it is asked for too much.

    451 4.7.x at RCPT is greylisting: it says nothing of us.
    """
    if verdict.disposition is Disposition.ACCEPTED or verdict.phase is Phase.POOL:
        return False
    reply = verdict.reply
    if reply is None:
        return verdict.failure is not None and verdict.failure.kind in _BUSY_FAILURES
    if reply.code in {421, 432}:
        return True
    enhanced = reply.enhanced
    return (
        verdict.phase is not Phase.RCPT
        and reply.klass is ReplyClass.TRANSIENT
        and enhanced is not None
        and (enhanced.subject == SECURITY_OR_POLICY or (enhanced.subject, enhanced.detail) == NOT_ACCEPTING)
    )


def refuses_login(verdict: Verdict) -> bool:
    """Tell whether this was AUTH answered with a refusal, for now (454) or for good (535)."""
    return verdict.phase is Phase.AUTH and verdict.reply is not None


def named_pause(verdict: Verdict) -> float:
    """Seconds that a transient reply asks us to wait, or 0. A hint only: no verdict depends on it."""
    reply = verdict.reply
    if reply is None or reply.klass is not ReplyClass.TRANSIENT or not is_pressure(verdict):
        return 0.0
    found = _NAMED_PAUSE.search(str(reply))
    return min(LONGEST_NAMED_PAUSE, float(found[1]) * _UNITS[found[2][0].lower()]) if found else 0.0


@dataclass(slots=True)
class Pressure:
    """What is left of the limits of one relay and account, and until when nothing goes. Times are the store's."""

    concurrency: int
    successes: float = 0.0
    """Feedback towards one more connection, in parts of it."""
    failures: float = 0.0
    last_pressure: float = float("-inf")
    factor: float = 1.0
    """Of the configured rates."""
    paused_until: float = 0.0
    pause_reason: str = ""
    logins_refused: int = 0
    login_after: float = 0.0
    login_reason: str = ""

    def is_calm(self, most: int) -> bool:
        """Whether a success could change nothing."""
        return self.concurrency >= most and self.factor >= 1 and not self.failures and not self.logins_refused

    def succeeded(self, count: int, most: int, per_window: int) -> None:
        """Learn of ``count`` mails accepted. ``per_window`` is the tightest rate's limit; ``most`` the connections'."""
        self.factor = min(1.0, self.factor + count / (per_window * WINDOWS_TO_RECOVER))
        if self.concurrency >= most:
            self.concurrency, self.successes, self.failures = most, 0.0, 0.0
            return
        self.successes += count / self.concurrency
        if self.successes >= 1:
            self.concurrency += 1
            self.successes = self.failures = 0.0

    def pressed(self, reason: str, pause: float, in_use: int, now: float) -> None:
        """Learn of a sign of pressure while ``in_use`` connections were held, and the pause (seconds) it named."""
        if now - self.last_pressure > MEMORY:
            self.failures = 0.0
        if now - self.last_pressure > ONE_BURST:
            self.factor = max(LEAST, self.factor * CUT)
        self.last_pressure = now
        self.concurrency = max(1, min(self.concurrency, in_use))
        first = self.failures == 0.0
        self.failures += 1 / self.concurrency
        self.successes = 0.0
        if first and self.concurrency > 1:
            self.concurrency -= 1
        if self.failures >= 1:
            self.failures = 0.0
        if pause > 0 and now + pause > self.paused_until:
            self.paused_until, self.pause_reason = now + pause, reason

    def login_refused(self, reason: str, now: float) -> None:
        """Hold the account back, twice as long each time."""
        if now < self.login_after:
            return  # from a session that was on its way before
        pause = min(LONGEST_LOGIN_PAUSE, FIRST_LOGIN_PAUSE * 2.0 ** min(self.logins_refused, 10))
        self.logins_refused += 1
        self.login_after, self.login_reason = now + pause, reason

    def logged_in(self) -> None:
        """Forget refused log-ins."""
        self.logins_refused, self.login_after, self.login_reason = 0, 0.0, ""

    def pause(self, now: float) -> Wait | None:
        """The pause that the relay asked for, if it lasts."""
        if now >= self.paused_until:
            return None
        return Wait(self.paused_until - now, f"the relay asked for a pause: {self.pause_reason}")

    def login_pause(self, now: float) -> Wait | None:
        """The pause before the next log-in, if it lasts."""
        if now >= self.login_after:
            return None
        text = f"log-in was refused {self.logins_refused} time(s), and more could lock the account: {self.login_reason}"
        return Wait(self.login_after - now, text)
