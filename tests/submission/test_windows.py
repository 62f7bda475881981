"""Several mails under way on one session: whatever happens to it, each has one true report, and the rest goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp import Deadline, PoolLimits, Submission, SubmissionClient, WirePolicy
from robust_email.testing import (
    At,
    Close,
    Extensions,
    Extra,
    Fault,
    Limits,
    Quirks,
    Reply,
    Reset,
    Script,
    ScriptedServer,
)
from robust_email.testing.clock import FakeClock
from tests.submission.relay import (
    AT_ONCE,
    IMPATIENT,
    TRANSPORTS,
    audit,
    client_of,
    config_for,
    envelope,
    in_windows_of,
    mail,
    submissions,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@pytest.mark.parametrize("window", [1, 2, 8, 32])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_mail_of_a_batch_is_accepted_once_and_in_order(transport: str, window: int) -> None:
    """Twenty mails over one session arrive once each, in the order of the iterable, in windows of any size."""
    with ScriptedServer(Script(extensions=TRANSPORTS[transport])) as server, client_of(server) as client:
        finished = list(client.submit_many(submissions(20), window=window))
        assert [submission.key for submission, _ in finished] == list(range(1, 21))
        assert [message.message_id for message in server.accepted] == [f"<{n}@example.org>" for n in range(1, 21)]
        assert audit([report for _, report in finished], server.accepted) == []
        assert server.connections == 1


@pytest.mark.parametrize("reply", ["452 4.5.3 Too many messages", "421 4.7.0 Too many messages"])
def test_a_limit_of_messages_inside_a_window_moves_the_rest_to_further_sessions(reply: str) -> None:
    """Where a session takes 3 mails and the window holds 8, all 10 are accepted, and none is left without a report."""
    limits = Limits(messages=3, messages_reply=reply)
    with ScriptedServer(Script(limits=limits)) as server, client_of(server, retry=AT_ONCE) as client:
        finished = list(client.submit_many(submissions(10), window=8))
        assert [submission.key for submission, _ in finished] == list(range(1, 11))
        assert all(report.all_accepted for _, report in finished)
        assert audit([report for _, report in finished], server.accepted) == []
        assert server.connections == 4
        assert client.pool.stats().leased == 0


def test_announced_limits_are_not_exceeded_by_a_window() -> None:
    """LIMITS MAILMAX=3 (RFC 9422 4.1): a window of 8 says MAIL three times on a session, not eight."""
    script = Script(limits=Limits(messages=3), extensions=Extensions(limits=True))
    with ScriptedServer(script) as server, client_of(server) as client:
        finished = list(client.submit_many(submissions(10), window=8))
        assert all(report.all_accepted for _, report in finished)
        assert [transcript.verbs.count("MAIL") for transcript in server.transcripts] == [3, 3, 3, 1]


@pytest.mark.parametrize("action", [Close(), Reset()])
def test_a_session_that_dies_inside_a_window_leaves_a_report_for_each(action: Close | Reset) -> None:
    """Cut at the fourth MAIL of a window of 8: ten mails, ten reports, doubt only for what had left whole."""
    fault = Fault(At.MAIL, action, message=4, times=1)
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server, retry=AT_ONCE) as client:
        finished = list(client.submit_many(submissions(10), window=8))
        reports = [report for _, report in finished]
        assert [submission.key for submission, _ in finished] == list(range(1, 11))
        assert audit(reports, server.accepted) == []
        states = [words(report)["ann"] for report in reports]
        doubtful = states.count("in-doubt")
        assert states == ["accepted"] * 3 + ["in-doubt"] * doubtful + ["accepted"] * (7 - doubtful)
        assert 1 <= doubtful <= 7, "as many as were refilled before the end was seen, the fourth for certain"


def test_a_goodbye_inside_a_window_puts_nothing_in_doubt() -> None:
    """421 at the fourth MAIL says that it and what follows was not taken (RFC 5321 3.8): all go on elsewhere."""
    fault = Fault(At.MAIL, Reply("421 4.3.2 shutting down"), message=4, times=1)
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server, retry=AT_ONCE) as client:
        finished = list(client.submit_many(submissions(10), window=8))
        assert [submission.key for submission, _ in finished] == list(range(1, 11))
        assert all(report.all_accepted for _, report in finished)
        assert audit([report for _, report in finished], server.accepted) == []
        assert server.connections == 2


def test_a_server_that_says_421_and_stays_is_left_all_the_same() -> None:
    """Exim's smtp_accept_max_per_connection: each further MAIL gets 421, the rest 503; the others go elsewhere."""
    fault = Fault(At.MAIL, Reply("421 too many messages in this connection", close=False), skip=5, times=3)
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server, retry=AT_ONCE) as client:
        finished = list(client.submit_many(submissions(8), window=8))
        assert [submission.key for submission, _ in finished] == list(range(1, 9))
        assert all(report.all_accepted for _, report in finished)
        assert server.connections == 2


@pytest.mark.parametrize("keep", [False, True])
def test_refusals_inside_a_window_concern_nobody_else(keep: bool) -> None:  # noqa: FBT001 - parametrised
    """A mail of refused recipients amid a window: its neighbours go in their own envelopes, also on Exim's kind."""
    script = Script(
        quirks=Quirks(keep_transaction_after_failed_bdat=keep),
        faults=[Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="bad")],
    )
    mixed = [Submission(envelope("bad" if n % 3 == 1 else "ann"), mail(n), n) for n in range(9)]
    with ScriptedServer(script) as server, client_of(server) as client:
        reports = [report for _, report in client.submit_many(mixed, window=8)]
        assert [words(report) for report in reports] == [
            {"bad": "refused"} if n % 3 == 1 else {"ann": "accepted"} for n in range(9)
        ]
        assert audit(reports, server.accepted) == []


def test_a_refused_sender_inside_a_window_concerns_nobody_else() -> None:
    """MAIL refused amid a window: its BDAT is refused too, and its neighbours are accepted in their own envelopes."""
    fault = Fault(At.MAIL, Reply("550 5.7.1 not you"), message=3, times=1)
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server) as client:
        finished = list(client.submit_many(submissions(6), window=6))
        assert [words(report)["ann"] for _, report in finished] == ["accepted"] * 2 + ["refused"] + ["accepted"] * 3
        assert audit([report for _, report in finished], server.accepted) == []


def test_a_mail_accepted_without_its_sender_is_in_doubt() -> None:
    """MAIL refused and its message taken (in another's envelope, as on Exim without RSET): never plain success."""
    faults = [
        Fault(At.MAIL, Reply("503 5.5.1 sender already given"), times=1),
        Fault(At.RCPT, Reply("503 5.5.1 no"), times=1),
        Fault(At.BDAT, Reply("250 2.0.0 taken"), times=1),
    ]
    with ScriptedServer(Script(faults=faults)) as server, client_of(server, retry=AT_ONCE) as client:
        report = client.submit(envelope(), mail())
        assert words(report) == {"ann": "in-doubt"}
        assert client.pool.stats().idle == 0, "a session whose replies don't add up is not used again"
        assert server.connections == 1


def test_a_reply_too_many_inside_a_window_is_believed_by_nobody() -> None:
    """A second, refusing reply behind the first mail's would shift all others by one: they are in doubt instead."""
    fault = Fault(At.FINAL, Extra("451 4.3.0 nobody asked"), message=1)
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server) as client:
        reports = [report for _, report in client.submit_many(submissions(4), window=4)]
        assert [words(report)["ann"] for report in reports] == ["accepted", "in-doubt", "in-doubt", "in-doubt"]
        assert audit(reports, server.accepted) == []


def test_a_server_that_tires_of_commands_leaves_nothing_in_doubt() -> None:
    """Exim's 554 in place of RSET's reply, then the end: the window from there on was not taken and goes elsewhere."""
    script = Script(limits=Limits(nonmail=2), faults=[Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad")])
    mixed = [Submission(envelope("bad" if n < 5 else "ann"), mail(n), n) for n in range(8)]
    with ScriptedServer(script) as server, client_of(server, retry=AT_ONCE) as client:
        reports = [report for _, report in client.submit_many(mixed, window=8)]
        assert [words(report) for report in reports] == [{"bad": "refused"}] * 5 + [{"ann": "accepted"}] * 3
        assert audit(reports, server.accepted) == []


def test_a_deadline_that_has_passed_sends_nothing_more() -> None:
    """With no time left nothing is written, on a warm session least of all: DEFERRED, and the server has nothing."""
    with ScriptedServer() as server, client_of(server) as client:
        assert client.submit(envelope(), mail(1)).all_accepted
        finished = list(client.submit_many(submissions(3), deadline=Deadline.after(0.0), window=2))
        assert [words(report)["ann"] for _, report in finished] == ["deferred"] * 3
        assert len(server.accepted) == 1


def test_a_deadline_inside_a_window_spares_what_had_not_left() -> None:
    """The server falls silent under a window of 4: those are in doubt, the other 16 were never begun."""
    fault = Fault(At.BDAT, Reply(delay=30.0), message=3)
    with ScriptedServer(Script(faults=[fault])) as server, client_of(server, timeouts=IMPATIENT) as client:
        finished = list(client.submit_many(submissions(20), deadline=Deadline.after(0.25), window=4))
        states = [words(report)["ann"] for _, report in finished]
        assert states[:2] == ["accepted"] * 2
        assert states[2:6] == ["in-doubt"] * 4
        assert states[6:] == ["deferred"] * 14
        assert audit([report for _, report in finished], server.accepted) == []


@pytest.mark.parametrize("window", [1, 4])
def test_a_deadline_between_two_mails_ends_the_batch_there(window: int) -> None:
    """The session is well and the time is over: what was begun is answered, the rest is not begun."""
    clock = FakeClock()
    with ScriptedServer() as server:
        client = SubmissionClient(config_for(server), clock=clock, sleep=clock.sleep)
        states = []
        for _, report in client.submit_many(submissions(10), window=window, deadline=Deadline.after(5.0, clock)):
            clock.advance(10.0)
            states.append(words(report)["ann"])
        assert states[0] == "accepted"
        assert "deferred" in states[1:]
        begun = len(states) - states.count("deferred")
        assert begun <= window
        client.close()
        server.wait_for(lambda server: server.transcript().closed)
        assert server.commands["MAIL"] <= begun


def test_an_iterable_that_raises_does_so_after_what_was_under_way() -> None:
    """Five mails, then an error of the caller's generator: five reports, then that error."""

    def source() -> Iterator[Submission]:
        yield from submissions(5)
        raise LookupError("no such row")

    with ScriptedServer() as server, client_of(server) as client:
        reports = []
        with pytest.raises(LookupError, match="no such row"):
            for _, report in client.submit_many(source(), window=8):
                reports.append(report)
        assert len(reports) == 5
        assert audit(reports, server.accepted) == []
        assert client.pool.stats().idle == 1, "the session is not to blame"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_hook_that_raises_stops_what_has_not_left_and_nothing_else(transport: str) -> None:
    """before_final refuses the fourth mail: what it had let go is answered, the error comes out, the rest stays."""
    let_go: list[int] = []

    def before_final(mails: Sequence[Submission]) -> None:
        if any(each.key == 4 for each in mails):
            raise PermissionError("the lease is gone")
        let_go.extend(int(str(each.key)) for each in mails)

    with ScriptedServer(Script(extensions=TRANSPORTS[transport])) as server, client_of(server) as client:
        done = []
        with pytest.raises(PermissionError, match="the lease is gone"):
            for submission, report in client.submit_many(submissions(8), window=2, before_final=before_final):
                assert report.all_accepted
                done.append(submission.key)
        assert done == let_go
        assert [message.message_id for message in server.accepted] == [f"<{key}@example.org>" for key in done]
        assert client.submit(envelope(), mail(9)).all_accepted, "the client stays usable"


def test_the_hook_is_heard_after_a_session_that_died() -> None:
    """A session died under a window and the hook refuses the next one: the error comes out, and no verdict is lost."""

    def before_final(mails: Sequence[Submission]) -> None:
        if any(each.key == 5 for each in mails):
            raise PermissionError("the lease is gone")

    faults = [Fault(At.MAIL, Close(), message=4, times=1)]
    with ScriptedServer(Script(faults=faults)) as server, client_of(server) as client:
        reports = []
        with pytest.raises(PermissionError):
            for _, report in client.submit_many(submissions(8), window=4, before_final=before_final):
                reports.append(report)
        assert [words(report)["ann"] for report in reports] == ["accepted"] * 3 + ["in-doubt"]
        assert audit(reports, server.accepted) == []


def hook_sizes(seconds: float) -> list[int]:
    """Return with how many mails the hook was called, of 20 in windows of 8; a call takes so long by the clock."""
    calls: list[int] = []
    passed = 0.0

    def before_final(mails: Sequence[Submission]) -> None:
        nonlocal passed
        passed += seconds
        calls.append(len(mails))

    with ScriptedServer() as server:
        client = SubmissionClient(config_for(server), clock=lambda: time.monotonic() + passed)
        finished = client.submit_many(submissions(20), window=8, before_final=before_final)
        assert sum(report.all_accepted for _, report in finished) == 20
        client.close()
    return calls


def test_a_hook_that_takes_long_is_called_for_whole_windows() -> None:
    """Where writing down takes longer than the relay's answer, it is done once for each window."""
    assert hook_sizes(seconds=1.0) == [8, 8, 4]


def test_a_hook_that_takes_no_time_is_called_by_halves() -> None:
    """Where the relay's answer is what takes long, half a window is under way while the other is filled again."""
    assert hook_sizes(seconds=0.0) == [8, 4, 4, 4]


def test_large_windows_block_neither_side() -> None:
    """32 mails of 60 kB against a server whose replies nobody reads meanwhile: nobody waits for the other for ever."""
    body = b"x" * 70 + b"\r\n"
    wire = WirePolicy(window=32, window_octets=4_000_000)
    with ScriptedServer() as server, client_of(server, wire=wire) as client:
        finished = list(client.submit_many(submissions(32, body=body * 850), window=32))
        assert all(report.all_accepted for _, report in finished)
        assert len(server.accepted) == 32


def test_a_large_mail_waits_for_its_envelope_and_for_the_window_before_it() -> None:
    """Mails over the cautious size go alone: a refused envelope costs no upload."""
    script = Script(faults=[Fault(At.RCPT, Reply("550 5.1.1 no"), subject="bad")])
    large = b"x" * 70 + b"\r\n"
    mixed = [Submission(envelope("bad"), mail(n, large * 2000 if n == 2 else b"hi\r\n"), n) for n in range(4)]
    with ScriptedServer(script) as server, client_of(server) as client:
        reports = [report for _, report in client.submit_many(mixed, window=4)]
        assert [words(report)["bad"] for report in reports] == ["refused"] * 4
        assert len(server.transcript().received) < 10_000


def test_a_window_is_bounded_in_octets() -> None:
    """Mails under way at once stay under window_octets, whatever the window counts in messages."""
    body = b"x" * 70 + b"\r\n"
    wire = WirePolicy(window=32, window_octets=30_000)
    hook_sizes: list[int] = []
    with ScriptedServer() as server, client_of(server, wire=wire) as client:
        finished = client.submit_many(
            submissions(30, body=body * 140), before_final=lambda mails: hook_sizes.append(len(mails))
        )
        assert sum(1 for _ in finished) == 30
    assert max(hook_sizes) <= 4


def test_many_mails_need_little_memory() -> None:
    """A generator is drawn from only as far as the window reaches."""
    drawn = 0

    def source() -> Iterator[Submission]:
        nonlocal drawn
        for submission in submissions(200):
            drawn += 1
            yield submission

    ahead = []
    with ScriptedServer() as server, client_of(server, wire=in_windows_of(8)) as client:
        ahead = [drawn - done for done, _ in enumerate(client.submit_many(source()), start=1)]
    assert max(ahead) <= 8


def test_sessions_are_recycled_in_the_middle_of_a_window() -> None:
    """After max_messages a session ends, in windows as well: 25 mails at 10 each take 3 sessions."""
    limits = PoolLimits(max_messages=10)
    with ScriptedServer() as server, client_of(server, pool=limits) as client:
        finished = list(client.submit_many(submissions(25), window=8))
        assert all(report.all_accepted for _, report in finished)
        assert [transcript.verbs.count("MAIL") for transcript in server.transcripts] == [10, 10, 5]
