"""Mail transactions as the server conducts them: MAIL, RCPT, then DATA or BDAT, and the ledger entry at their end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from robust_email.testing.channel import ConnectionEnded
from robust_email.testing.faults import At
from robust_email.testing.ledger import AcceptedMessage, message_id_of
from robust_email.testing.paths import parse_path_argument
from robust_email.testing.replies import Code, code_of, is_positive
from robust_email.testing.rules import (
    Transaction,
    refuse_chunk,
    refuse_content,
    refuse_data,
    refuse_mail,
    refuse_rcpt,
)
from robust_email.testing.script import EndOfData
from robust_email.testing.wire import unstuff

if TYPE_CHECKING:
    from robust_email.testing.stage import Stage

_CHUNK = re.compile(r"(?P<size>\d{1,12})(?P<last> LAST)?", re.IGNORECASE)


class Exchange:
    """The transactions of one session, one after the other."""

    def __init__(self, stage: Stage) -> None:
        """Begin without a transaction."""
        self._stage = stage
        self._script = stage.script
        self._open: Transaction | None = None

    @property
    def under_way(self) -> bool:
        """Whether MAIL was accepted and the transaction has not ended."""
        return self._open is not None

    def abandon(self) -> None:
        """Forget the transaction, as RSET, EHLO and STARTTLS do."""
        self._open = None

    def mail(self, argument: str) -> None:
        """Begin a transaction (RFC 5321 4.1.1.2)."""
        if self._open:
            self._stage.say("503 5.5.1 Sender already given")
            return
        self._stage.transactions += 1
        sender = parse_path_argument("FROM", argument)
        usual = refuse_mail(self._script, sender, self._stage.accepted, self._stage.record.user)
        usual = usual or "250 2.1.0 Sender ok"
        said = self._stage.answer(At.MAIL, usual, sender.path if sender else argument)
        if sender and is_positive(said):
            self._open = Transaction(sender)

    def rcpt(self, argument: str) -> None:
        """Add a recipient (RFC 5321 4.1.1.3)."""
        if self._open is None:
            self._stage.say("503 5.5.1 MAIL first")
            return
        recipient = parse_path_argument("TO", argument)
        usual = refuse_rcpt(self._script, recipient, self._open) or "250 2.1.5 Recipient ok"
        said = self._stage.answer(At.RCPT, usual, recipient.path if recipient else argument)
        if recipient and is_positive(said):
            self._open.recipients.append(recipient)

    def data(self, _: str = "") -> None:
        """Read a message up to the lone dot (RFC 5321 4.1.1.4)."""
        usual = refuse_data(self._script, self._open) or "354 End data with <CRLF>.<CRLF>"
        if code_of(self._stage.answer(At.DATA, usual)) != Code.START_CONTENT:
            return
        lenient = self._script.quirks.end_of_data is EndOfData.LENIENT
        self._stage.early_reply = False
        stuffed = self._stage.channel.read_content(lenient=lenient, progress=self._stage.reading)
        behind = self._commands_behind()
        self._finish(unstuff(stuffed, lenient=lenient))
        for _refused in range(behind):
            self._stage.say("503 5.5.1 Commands behind the end of data are not accepted")

    def bdat(self, argument: str) -> None:
        """Read a chunk (RFC 3030 2); its octets are consumed whatever the reply."""
        found = _CHUNK.fullmatch(argument)
        if found is None:
            self._stage.say("501 5.5.4 BDAT size [LAST]")
            raise ConnectionEnded
        self._stage.early_reply = False
        chunk = self._stage.channel.read_exactly(int(found["size"]), self._stage.reading)
        if self._stage.early_reply:
            self.abandon()
            return
        transaction = self._open
        usual = refuse_chunk(self._script, transaction, len(chunk))
        if usual or transaction is None:
            self._stage.answer(At.BDAT, usual or "")
            if not self._script.quirks.keep_transaction_after_failed_bdat:
                self.abandon()
            return
        transaction.chunks += chunk
        transaction.chunked = True
        if found["last"]:
            self._finish_chunks(transaction)
        elif not is_positive(self._stage.answer(At.BDAT, f"250 2.0.0 {len(chunk)} octets received")):
            self.abandon()

    def _finish_chunks(self, transaction: Transaction) -> None:
        if self._stage.answer(At.BDAT) is None:
            self._finish(bytes(transaction.chunks))
        else:
            self.abandon()

    def _finish(self, content: bytes) -> None:
        """Judge the complete content, take it or not, and give the final reply."""
        transaction, self._open = self._open, None
        if self._stage.early_reply or transaction is None:
            return
        refusal = refuse_content(self._script, transaction, content)
        if refusal:
            self._stage.answer(At.BEFORE_FINAL, refusal)
            return
        if self._stage.answer(At.BEFORE_FINAL) is not None:
            return
        order = self._take(transaction, content)
        self._stage.answer(At.FINAL, f"250 2.0.0 Accepted as {order}")

    def _take(self, transaction: Transaction, content: bytes) -> int:
        record = self._stage.record
        taken = self._stage.ledger.take(
            lambda order: AcceptedMessage(
                reverse_path=transaction.sender.path,
                forward_paths=tuple(recipient.path for recipient in transaction.recipients),
                data=content,
                message_id=message_id_of(content),
                connection=record.connection,
                order=order,
                parameters=transaction.sender.parameters,
                recipient_parameters={each.path: each.parameters for each in transaction.recipients},
                encrypted=record.encrypted,
                user=record.user,
            )
        )
        self._stage.accepted += 1
        return taken.order

    def _commands_behind(self) -> int:
        """Take what came in one go with the end of data off the channel, where the server is one that refuses it."""
        channel = self._stage.channel
        if not self._script.quirks.refuse_behind_final_dot or not channel.has_input():
            return 0
        lines = channel.discard_input().splitlines()
        for line in lines:
            self._stage.record.command(line.decode("utf-8", "backslashreplace"))
        return len(lines)
