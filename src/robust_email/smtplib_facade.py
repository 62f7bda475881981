"""``backend.connection`` for code that opened a backend itself: shaped like ``smtplib.SMTP``, fed by the pool.

Test buttons and custom ``_send()`` methods talk to ``backend.connection`` as to an smtplib object. They may: a session
is leased at the first command, and given back, reset, by ``close()`` or by the next ``send_messages()``. The path that
submits mail does not come through here, except that ``sendmail()`` goes over to it whole, with its retries and report.

What this is not: an ``smtplib.SMTP``, with its socket and its file. ``data()`` is refused, since a body behind a
``data()`` of one's own would have no verdict; ``sendmail()`` does the same in one call.
"""

from __future__ import annotations

import contextlib
import smtplib
from typing import TYPE_CHECKING

from robust_email.smtp import Deadline, Envelope, MailData, error_for
from robust_email.smtp.address import mailbox_from_header, parse_mailbox
from robust_email.smtp.failure import SessionFailure
from robust_email.smtp.protocol import commands
from robust_email.smtp.protocol.states import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from robust_email.smtp import Reply, SubmissionClient, SubmissionReport
    from robust_email.smtp.relays import RelayGroup
    from robust_email.smtp.session import Session

Answer = tuple[int, bytes]
"""Code and text of a reply, as smtplib's methods return them."""

_REPEAT = {"7BIT", "8BITMIME", "SMTPUTF8"}


class SmtplibFacade:
    """An open connection, as far as its holder can tell; which session it is may change between two uses.

    ``timeout`` is in seconds. Each command raises ``SMTPServerDisconnected`` if the session is lost, and what opening
    one raises if there is none.
    """

    does_esmtp = True

    def __init__(
        self, client: SubmissionClient | RelayGroup, timeout: float, on_report: Callable[[SubmissionReport], object]
    ) -> None:
        self.timeout = timeout
        self._client = client
        self._on_report = on_report
        self._held = contextlib.ExitStack()
        self._session: Session | None = None
        self._in_transaction = False

    # -- the dialogue

    def ehlo_or_helo_if_needed(self) -> None:
        """Greet the server; a leased session has been greeted, encrypted and logged in."""
        self._leased()

    def ehlo(self, name: str = "") -> Answer:  # noqa: ARG002 - smtplib's signature
        """As ``ehlo_or_helo_if_needed``; the name is the configuration's (``EMAIL_LOCAL_HOSTNAME``)."""
        extensions = self._leased().extensions.keywords
        return 250, "\n".join(f"{word} {value}".rstrip() for word, value in extensions.items()).encode(
            "ascii", "replace"
        )

    helo = ehlo

    @property
    def esmtp_features(self) -> dict[str, str]:
        """What the server offers, by lower-case keyword."""
        return {word.lower(): value for word, value in self._leased().extensions.keywords.items()}

    def has_extn(self, opt: str) -> bool:
        """Whether the server offers an extension."""
        return opt in self._leased().extensions

    def mail(self, sender: str, options: Sequence[str] = ()) -> Answer:
        """MAIL FROM, beginning a transaction."""
        self._in_transaction = True
        return self._ask(Verb.MAIL, commands.mail(f"<{_addr_spec(sender)}>", *options))

    def rcpt(self, recip: str, options: Sequence[str] = ()) -> Answer:
        """RCPT TO."""
        return self._ask(Verb.RCPT, commands.rcpt(f"<{_addr_spec(recip)}>", *options))

    def rset(self) -> Answer:
        """RSET, ending the transaction."""
        return self._ask(Verb.RSET, commands.RSET)

    def noop(self) -> Answer:
        """NOOP."""
        return self._ask(Verb.NOOP, commands.NOOP)

    def data(self, msg: object) -> Answer:  # noqa: ARG002 - smtplib's signature
        """Refuse; see the module's docstring."""
        raise smtplib.SMTPNotSupportedError(
            "backend.connection.data() is not offered: use backend.connection.sendmail(), or "
            "backend.send_messages(), which leaves its report on message.smtp_report."
        )

    def sendmail(
        self,
        from_addr: str,
        to_addrs: str | Iterable[str],
        msg: bytes | str,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict[str, Answer]:
        """Submit a mail as ``smtplib`` does: the refused recipients with their replies, or its exceptions.

        Raises ``SMTPNotSupportedError`` for ESMTP parameters other than BODY and SMTPUTF8, which follow the mail.
        """
        unknown = [each for each in (*mail_options, *rcpt_options) if each.upper().removeprefix("BODY=") not in _REPEAT]
        if unknown:
            raise smtplib.SMTPNotSupportedError(f"ESMTP parameters {', '.join(unknown)} are not offered here.")
        self.give_back()
        recipients = [to_addrs] if isinstance(to_addrs, str) else list(to_addrs)
        envelope = Envelope.of(_addr_spec(from_addr), map(_addr_spec, recipients))
        data = MailData.from_bytes(msg.encode("ascii") if isinstance(msg, str) else msg)
        report = self._client.submit(envelope, data)
        self._on_report(report)
        error = error_for(report, sender=str(envelope.reverse_path))
        if error is not None:
            raise error
        return {
            to: (verdict.reply.code, verdict.reply.message) if verdict.reply else (451, verdict.reason.encode())
            for to, verdict in report.verdicts.items()
            if to not in report.accepted
        }

    # -- its end

    def give_back(self) -> None:
        """Give the session back to the pool, out of its transaction; the pool drops one that refuses to be reset."""
        session, self._session = self._session, None
        if session is None:
            return
        was_in_transaction, self._in_transaction = self._in_transaction, False
        try:
            if was_in_transaction:
                session.command(Verb.RSET, commands.RSET, self._deadline())
        except SessionFailure:
            pass  # the session is marked broken; the pool closes it
        finally:
            self._held.close()

    def quit(self) -> Answer:
        """Give the session back; the reply is not the server's, which goes on."""
        self.give_back()
        return 221, b"2.0.0 The session went back to the pool"

    def close(self) -> None:
        """As ``quit``."""
        self.give_back()

    def _leased(self) -> Session:
        if self._session is None:
            self._session = self._held.enter_context(self._client.lease(self._deadline()))
        return self._session

    def _ask(self, verb: Verb, line: bytes) -> Answer:
        session = self._leased()
        try:
            reply: Reply = session.command(verb, line, self._deadline())
        except SessionFailure as exc:
            self._session = None
            self._held.close()
            raise smtplib.SMTPServerDisconnected(str(exc)) from exc
        return reply.code, reply.message

    def _deadline(self) -> Deadline:
        return Deadline.after(self.timeout, self._client.clock)


def _addr_spec(address: str) -> str:
    """Take ``a@b`` out of ``Name <a@b>``, as smtplib does; raises ``ValueError`` for what is not one address."""
    return parse_mailbox(mailbox_from_header(address)).addr_spec(smtputf8=False) if address.strip(" <>") else ""
