"""What the tests of sessions, pools and submissions share: a client for a server, mails, and the audit of verdicts.

The audit is the heart: the server's ledger says what it took, the client's report says what it believes, and the two
are compared recipient by recipient. Nothing here knows how the client came to believe it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, TypedDict

from robust_email.smtp import (
    Credentials,
    Disposition,
    Envelope,
    MailData,
    OpeningRetry,
    PoolLimits,
    SmtpConfig,
    Submission,
    SubmissionClient,
    Timeouts,
    TlsPolicy,
    WirePolicy,
)
from robust_email.testing import Extensions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from typing_extensions import Unpack

    from robust_email.smtp import SubmissionReport
    from robust_email.testing import AcceptedMessage, ScriptedServer
    from robust_email.testing.proxy import CuttableProxy

TRANSPORTS: Mapping[str, Extensions] = {
    "stepwise": Extensions(pipelining=False, chunking=False),
    "pipelined": Extensions(chunking=False),
    "chunked": Extensions(),
}
"""What a server has to offer for each way of writing a transaction."""

PATIENT = Timeouts.uniform(10.0)
"""For tests in which nothing is late: long enough for a busy machine."""
IMPATIENT = Timeouts.uniform(0.3, final_reply=0.3)
"""For tests in which the server is late on purpose."""
AT_ONCE = OpeningRetry(attempts=3, delay=0.0)
ONCE = OpeningRetry(attempts=1, delay=0.0)


class Fields(TypedDict, total=False):
    """What a test may want different in the configuration."""

    tls: TlsPolicy
    credentials: Credentials
    allow_clear_text_auth: bool
    timeouts: Timeouts
    pool: PoolLimits
    retry: OpeningRetry
    wire: WirePolicy


def config_for(server: ScriptedServer | CuttableProxy, **fields: Unpack[Fields]) -> SmtpConfig:
    """Describe the server as a relay; time-outs are patient and opening is tried once, unless given."""
    plain = SmtpConfig(host=server.host, port=server.port, timeouts=PATIENT, retry=ONCE, local_hostname="me.test")
    return dataclasses.replace(plain, **fields)


@contextlib.contextmanager
def client_of(server: ScriptedServer | CuttableProxy, **fields: Unpack[Fields]) -> Iterator[SubmissionClient]:
    """Give a client of the server, and end its sessions."""
    client = SubmissionClient(config_for(server, **fields), dice=lambda: 0.0)
    try:
        yield client
    finally:
        client.close()


def mail(number: int = 1, body: bytes = b"hello\r\n") -> MailData:
    """A mail with its number in the Message-ID."""
    return MailData.from_bytes(b"Subject: hi\r\nMessage-ID: <%d@example.org>\r\n\r\n%b" % (number, body))


def envelope(*names: str) -> Envelope:
    """From the shop to people at example.org."""
    return Envelope.of("shop@example.org", [f"{name}@example.org" for name in names or ("ann",)])


def submissions(count: int, *names: str, body: bytes = b"hello\r\n") -> Iterator[Submission]:
    """Mails numbered from 1, with their number as key."""
    for number in range(1, count + 1):
        yield Submission(envelope(*names), mail(number, body), number)


def in_windows_of(window: int) -> WirePolicy:
    """The wire policy with so many messages in flight."""
    return WirePolicy(window=window)


def words(report: SubmissionReport) -> dict[str, str]:
    """Each recipient's local part with its disposition's name."""
    return {to.partition("@")[0]: verdict.disposition.value for to, verdict in report.verdicts.items()}


def audit(reports: Sequence[SubmissionReport], ledger: Collection[AcceptedMessage]) -> list[str]:
    """Compare what the client says with what the server took; return what is wrong, one sentence each.

    ACCEPTED was taken once, DEFERRED and REFUSED were not taken, and nobody has a mail that was not meant for him.
    """
    taken: dict[tuple[str, str], int] = {}
    for message in ledger:
        for path in message.forward_paths:
            taken[message.message_id, path] = taken.get((message.message_id, path), 0) + 1
    wrong = []
    for report in reports:
        for path, verdict in report.verdicts.items():
            count = taken.pop((str(report.message_id), path), 0)
            allowed = {Disposition.ACCEPTED: {1}, Disposition.IN_DOUBT: {0, 1}}.get(verdict.disposition, {0})
            if count not in allowed:
                wrong.append(f"{report.message_id} for {path} is {verdict}, and was taken {count} times")
    wrong += [f"{message_id} for {path} was taken and has no verdict" for message_id, path in taken]
    return wrong
