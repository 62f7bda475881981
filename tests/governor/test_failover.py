"""Several relays behind one name: which faults pass a mail on, and that no recipient ever has it from two."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from robust_email.smtp import Disposition, OpeningRetry, SMTPConnectionError, Submission, SubmissionClient
from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.outcome import Scope, classify_failure, classify_reply
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import Reply as Answer
from robust_email.smtp.relays import Relay, RelayGroup, goes_elsewhere
from robust_email.testing import (
    At,
    Close,
    Fault,
    Reply,
    Reset,
    Script,
    ScriptedServer,
    Stall,
    TakeThenClose,
)
from tests.submission.relay import (
    IMPATIENT,
    TRANSPORTS,
    audit,
    config_for,
    envelope,
    in_windows_of,
    mail,
    submissions,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from robust_email.testing.faults import Action

MOMENTS = [At.GREETING, At.EHLO, At.MAIL, At.RCPT, At.DATA, At.BDAT, At.BEFORE_FINAL, At.FINAL]
ACTIONS: dict[str, Action] = {
    "closes": Close(),
    "resets": Reset(),
    "421": Reply("421 4.3.2 closing"),
    "451": Reply("451 4.3.0 later"),
    "550": Reply("550 5.7.1 no"),
    "stalls": Stall(),
}

MATRIX = [
    (at, action)
    for at, action in itertools.product(MOMENTS, ACTIONS)
    # A server that took the mail and says that it did not is beyond anybody's help.
    if not (at is At.FINAL and isinstance(ACTIONS[action], Reply))
]


@contextmanager
def group(*servers: ScriptedServer, weights: Sequence[int] = (), window: int = 4) -> Iterator[RelayGroup]:
    """Give the servers as one relay, with short time-outs."""
    clients = [
        SubmissionClient(
            config_for(
                server, timeouts=IMPATIENT, wire=in_windows_of(window), retry=OpeningRetry(attempts=2, delay=0.0)
            )
        )
        for server in servers
    ]
    made = RelayGroup(
        [Relay(f"relay{number}", client, weights[number] if weights else 0) for number, client in enumerate(clients)],
        dice=itertools.cycle([0.1, 0.5, 0.5, 0.5, 0.9, 0.5]).__next__,
    )
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("at", "action"), MATRIX)
def test_no_fault_at_the_first_relay_doubles_a_mail(at: At, action: str, transport: str) -> None:
    """Whatever it does and whenever: each recipient has a true verdict, and the mail at most once, over both."""
    if action == "stalls" and transport == "pipelined":
        return  # as the other two; each stall costs a time-out
    fault = Fault(at, ACTIONS[action], skip=1 if at is At.RCPT else 0)
    script = Script(faults=[fault], extensions=TRANSPORTS[transport])
    with ScriptedServer(script) as first, ScriptedServer() as second, group(first, second) as relays:
        given = [Submission(envelope("ann", "bob"), mail(number), number) for number in range(3)]
        found = dict[object, object]()
        reports = []
        for submission, report in relays.submit_many(given):
            found[submission.key] = submission
            reports.append(report)
        reports.append(relays.submit(envelope("ann", "bob"), mail(99)))
        ledger = [*first.accepted, *second.accepted]
    assert found == {each.key: each for each in given}
    assert audit(reports, ledger) == []
    for report in reports:
        for path, verdict in report.verdicts.items():
            assert not goes_elsewhere(verdict), f"{path} was not passed on: {verdict}"


@pytest.mark.parametrize("reply", ["550 5.1.1 unknown", "450 4.2.2 full", "452 4.2.2 full"])
def test_a_refused_recipient_is_not_tried_elsewhere(reply: str) -> None:
    """Permanently or for now: the others have it from the first relay, and the second hears of nothing."""
    script = Script(faults=[Fault(At.RCPT, Reply(reply), subject="bob")])
    with ScriptedServer(script) as first, ScriptedServer() as second, group(first, second) as relays:
        report = relays.submit(envelope("ann", "bob"), mail())
        assert second.connections == 0
    assert words(report)["ann"] == "accepted"
    assert words(report)["bob"] in {"refused", "deferred"}


def test_a_mail_in_doubt_stays_in_doubt() -> None:
    """The relay took it and its reply was lost: no other relay is asked, in a batch either."""
    script = Script(faults=[Fault(At.FINAL, TakeThenClose())])
    with ScriptedServer(script) as first, ScriptedServer() as second, group(first, second, window=1) as relays:
        reports = [relays.submit(envelope(), mail(0)), *(report for _, report in relays.submit_many(submissions(3)))]
        assert [words(report)["ann"] for report in reports] == ["in-doubt"] * 4
        assert second.connections == 0
        assert len(first.accepted) == 4


def test_the_report_tells_of_both_relays() -> None:
    """Every attempt in order, and the relay that had the last word."""
    with (
        ScriptedServer(Script(faults=[Fault(At.GREETING, Close())])) as first,
        ScriptedServer() as second,
        group(first, second) as relays,
    ):
        report = relays.submit(envelope(), mail())
    assert report.endpoint == f"127.0.0.1:{second.port}"
    assert [(attempt.number, attempt.phase) for attempt in report.attempts] == [
        (1, Phase.GREETING),
        (2, Phase.AWAIT_FINAL),
    ]
    assert report.accepted == ("ann@example.org",)


def test_a_batch_goes_on_elsewhere_without_being_held_in_memory() -> None:
    """When the first relay is out, no more of the caller's mails are taken for it than are under way."""
    taken: list[int] = []

    def source() -> Iterator[Submission]:
        for submission in submissions(500):
            taken.append(1)
            yield submission

    with (
        ScriptedServer(Script(faults=[Fault(At.GREETING, Close())])) as first,
        ScriptedServer() as second,
        group(first, second) as relays,
    ):
        ahead = []
        for number, (_, report) in enumerate(relays.submit_many(source()), 1):
            assert words(report) == {"ann": "accepted"}
            ahead.append(len(taken) - number)
    assert max(ahead) <= 12
    assert (len(second.accepted), first.connections) == (500, 1)


def test_mail_is_shared_by_weight() -> None:
    """Two of three go to the relay that has two thirds of the weight; one without weight is for when both fail."""
    with ScriptedServer() as a, ScriptedServer() as b, ScriptedServer() as spare:
        with group(a, b, spare, weights=(2, 1, 0)) as relays:
            for number in range(9):
                assert relays.submit(envelope(), mail(number)).accepted
        assert (len(a.accepted), len(b.accepted)) == (6, 3)
        assert spare.connections == 0


def test_all_out_raises_what_the_last_one_said() -> None:
    """A caller who opens a session is told, and a mail is deferred after the last relay's own attempts."""
    down = Script(faults=[Fault(At.GREETING, Reply("421 4.3.2 down"))])
    with ScriptedServer(down) as first, ScriptedServer(down) as second, group(first, second) as relays:
        with pytest.raises(SMTPConnectionError, match=str(second.port)):
            relays.verify()
        before = (first.connections, second.connections)
        assert words(relays.submit(envelope(), mail())) == {"ann": "deferred"}
        assert (first.connections - before[0], second.connections - before[1]) == (1, 2)


def test_a_session_is_lent_by_the_first_that_has_one() -> None:
    """It belongs to whoever gave it, and goes back there."""
    down = Script(faults=[Fault(At.GREETING, Reply("421 4.3.2 down"))])
    with ScriptedServer(down) as first, ScriptedServer() as second, group(first, second) as relays:
        with relays.lease() as session:
            assert session.config.port == second.port
        assert relays.relays[1].client.pool.stats().idle == 1


def test_a_group_needs_names() -> None:
    """None, or two of one name, is a mistake; a route to a name that isn't there as well."""
    client = SubmissionClient(config_for(ScriptedServer(port=1)))
    with pytest.raises(ValueError, match="at least one"):
        RelayGroup([])
    with pytest.raises(ValueError, match="different name"):
        RelayGroup([Relay("a", client), Relay("a", client)])
    with pytest.raises(ValueError, match="no relay named 'b'"):
        RelayGroup([Relay("a", client)], route=lambda _: ["b"]).submit(envelope(), mail())


def test_what_passes_a_mail_on_is_a_table() -> None:
    """Over every phase, kind of failure and class of reply: only what says nothing about the mail, before the end."""
    for phase, kind in itertools.product(Phase, FailureKind):
        verdict = classify_failure(Failure(kind, phase, "x"))
        passes = goes_elsewhere(verdict)
        if phase is Phase.AWAIT_FINAL or verdict.disposition is Disposition.IN_DOUBT:
            assert not passes
        elif phase.opens_session:
            assert passes
        else:
            assert passes is (verdict.disposition is Disposition.DEFERRED)
    for phase, code in itertools.product((Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.AWAIT_FINAL), (250, 450, 451, 550)):
        if phase is Phase.AWAIT_FINAL or code != 250:
            assert not goes_elsewhere(classify_reply(phase, Answer(code)))
    assert goes_elsewhere(classify_reply(Phase.MAIL, Answer(421)))
    assert not goes_elsewhere(classify_reply(Phase.AWAIT_FINAL, Answer(421))), "it has read the whole message"
    assert goes_elsewhere(classify_reply(Phase.AUTH, Answer(535)))
    assert not goes_elsewhere(classify_reply(Phase.MAIL, Answer(530)))
    assert classify_reply(Phase.AUTH, Answer(535)).scope is Scope.CONFIGURATION
