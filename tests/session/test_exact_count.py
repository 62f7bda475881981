"""The verdict hangs on one number: how many octets the kernel took. Here that number is set, octet by octet.

A stream in memory takes so many octets of a transaction and then breaks, or blocks for ever. The mail is in doubt if
and only if the last octet of its end-of-data mark was among those taken.
"""

from __future__ import annotations

import pytest

from robust_email.smtp import Deadline, Disposition, SmtpConfig, Submission, SubmissionClient, WirePolicy
from robust_email.smtp.net.memory import MemoryStream
from tests.submission.relay import ONCE, envelope, mail

BODY = b".hidden\r\nhello\r\n"
OPENING = {
    "stepwise": b"250 mx\r\n",
    "pipelined": b"250-mx\r\n250 PIPELINING\r\n",
    "chunked": b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
}
ENVELOPE = [b"250 sender ok\r\n", b"250 recipient ok\r\n"]
REPLIES = {
    "stepwise": [*ENVELOPE, b"354 go\r\n"],
    "pipelined": [*ENVELOPE, b"354 go\r\n"],
    "chunked": [],
}
"""What the server says before it is silent."""


class _To:
    """A connector that is connected already."""

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream

    def connect(self, deadline: Deadline | None = None) -> MemoryStream:
        """Give the stream."""
        return self._stream


def submitted(transport: str, room: int | None, error: Exception | None, messages: int = 1) -> tuple[list[str], int]:
    """Submit over a stream with so much room; return the dispositions and how many octets were taken."""
    stream = MemoryStream([b"220 mx\r\n", OPENING[transport], *REPLIES[transport]], room=room)
    stream.write_error = error
    client = SubmissionClient(
        SmtpConfig(host="mx.test", local_hostname="me.test", retry=ONCE, wire=WirePolicy(window=messages)),
        connector=_To(stream),  # type: ignore[arg-type]  # a stand-in
    )
    mails = [Submission(envelope(), mail(n, BODY)) for n in range(messages)]
    reports = [report for _, report in client.submit_many(mails)]
    client.close()
    return [report.decisive.disposition.value for report in reports], len(stream.written)


@pytest.mark.parametrize("error", [None, BrokenPipeError(32, "Broken pipe"), ConnectionResetError(104, "reset")])
@pytest.mark.parametrize("transport", OPENING)
def test_doubt_begins_with_the_last_octet_of_the_mark(transport: str, error: Exception | None) -> None:
    """For every number of octets that are taken before the line breaks or blocks: one less than all is no doubt."""
    _, total = submitted(transport, None, None)
    for room in range(len(b"EHLO me.test\r\n"), total + 1):
        expected = Disposition.IN_DOUBT if room == total else Disposition.DEFERRED
        assert submitted(transport, room, error) == ([expected.value], room), room


def test_in_a_window_doubt_begins_message_by_message() -> None:
    """Three messages in flight: each is in doubt from its own last octet on, and not from another's."""
    opening = len(b"EHLO me.test\r\n")
    ends = [submitted("chunked", None, None, messages=count)[1] for count in (1, 2, 3)]
    for room in range(opening, ends[-1] + 1):
        states, _ = submitted("chunked", room, BrokenPipeError(32, "Broken pipe"), messages=3)
        assert states == ["in-doubt" if room >= end else "deferred" for end in ends], room


def test_what_the_server_said_before_it_broke_the_line_decides() -> None:
    """The write fails while a refusal waits to be read: REFUSED by that reply, not DEFERRED by the broken pipe."""
    script = [b"220 mx\r\n", OPENING["chunked"], *ENVELOPE, b"552 5.3.4 too large\r\n", b""]
    stream = MemoryStream(script, room=150)
    stream.write_error = BrokenPipeError(32, "Broken pipe")
    client = SubmissionClient(
        SmtpConfig(host="mx.test", local_hostname="me.test", retry=ONCE),
        connector=_To(stream),  # type: ignore[arg-type]  # a stand-in
    )
    report = client.submit(envelope(), mail(1, b"x" * 70 + b"\r\n"))
    assert report.decisive.disposition is Disposition.REFUSED
    assert str(report.decisive.reply) == "552 5.3.4 too large"


def test_octets_are_offered_again_in_whatever_portions_they_are_taken() -> None:
    """One octet per write: the same wire, octet for octet."""
    script = [b"220 mx\r\n", OPENING["stepwise"], *REPLIES["stepwise"], b"250 taken\r\n"]
    whole, single = MemoryStream(script), MemoryStream(script, write_limit=1)
    for stream in (whole, single):
        client = SubmissionClient(
            SmtpConfig(host="mx.test", local_hostname="me.test", retry=ONCE),
            connector=_To(stream),  # type: ignore[arg-type]  # a stand-in
        )
        assert client.submit(envelope(), mail(1, BODY)).all_accepted
        client.close()
    assert whole.written == single.written
    assert b"\r\n..hidden\r\nhello\r\n.\r\n" in whole.written
