"""Replies that have shifted by one: a line too many came in after the last look at the socket, and before an answer.

No look can prevent it. What can be prevented is that a reply is held against the wrong recipient: once the replies do
not add up, none of that transaction is believed.
"""

from __future__ import annotations

import pytest

from robust_email.smtp import Deadline, SmtpConfig, SubmissionClient
from robust_email.smtp.net.memory import MemoryStream
from tests.submission.relay import ONCE, envelope, mail, words

OPENING = {
    "stepwise": b"250 mx\r\n",
    "pipelined": b"250-mx\r\n250 PIPELINING\r\n",
    "chunked": b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
}
FIRST = {
    "stepwise": [b"250 sender\r\n", b"250 recipient\r\n", b"354 go\r\n", b"250 taken\r\n"],
    "pipelined": [b"250 sender\r\n250 recipient\r\n354 go\r\n", b"250 taken\r\n"],
    "chunked": [b"250 sender\r\n250 recipient\r\n250 taken\r\n"],
}
EXTRA = b"250 nobody asked\r\n"
SECOND = {
    "stepwise": [EXTRA, b"250 sender\r\n", b"550 bad\r\n", b"250 good\r\n", b"354 go\r\n"],
    "pipelined": [EXTRA + b"250 reset\r\n250 sender\r\n550 bad\r\n250 good\r\n354 go\r\n"],
    "chunked": [EXTRA + b"250 reset\r\n250 sender\r\n550 bad\r\n250 good\r\n250 taken\r\n"],
}
"""To a mail for ``bad`` and ``good``: with the line too many in front, 550 seems to be ``good``'s."""


class _To:
    """A connector that is connected already."""

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream

    def connect(self, deadline: Deadline | None = None) -> MemoryStream:
        """Give the stream, once."""
        if self._stream.written:
            raise AssertionError("there is one stream")
        return self._stream


@pytest.mark.parametrize("transport", OPENING)
def test_no_reply_is_held_against_the_wrong_recipient(transport: str) -> None:
    """550 that was meant for another: nobody is REFUSED; DEFERRED, or IN_DOUBT where the message had left."""
    stream = MemoryStream([b"220 mx\r\n", OPENING[transport], *FIRST[transport]])
    config = SmtpConfig(host="mx.test", local_hostname="me.test", retry=ONCE)
    client = SubmissionClient(config, connector=_To(stream))  # type: ignore[arg-type]  # a stand-in
    assert client.submit(envelope("ann"), mail(1)).all_accepted
    stream.feed(*SECOND[transport])
    if transport == "chunked":
        assert words(client.submit(envelope("bad", "good"), mail(2))) == {"bad": "in-doubt", "good": "in-doubt"}
        return
    # Not taken, so that it is tried again at once; the stand-in's refusal shows that it was.
    with pytest.raises(AssertionError, match="one stream"):
        client.submit(envelope("bad", "good"), mail(2))
    assert b"<2@example.org>" not in stream.written


@pytest.mark.parametrize("extra_behind", [1, 2, 3])
def test_a_reply_too_many_amid_a_chunked_transaction_puts_it_in_doubt(extra_behind: int) -> None:
    """Four replies to three commands, read together: which one was too many is unknown, so nobody claims a success."""
    replies = [b"250 sender\r\n", b"250 recipient\r\n", b"250 taken\r\n"]
    replies.insert(extra_behind, EXTRA)
    stream = MemoryStream([b"220 mx\r\n", OPENING["chunked"], b"".join(replies)])
    config = SmtpConfig(host="mx.test", local_hostname="me.test", retry=ONCE)
    client = SubmissionClient(config, connector=_To(stream))  # type: ignore[arg-type]  # a stand-in
    assert words(client.submit(envelope("ann"), mail(1))) == {"ann": "in-doubt"}
    assert client.pool.stats().idle == 0
    assert stream.closed
