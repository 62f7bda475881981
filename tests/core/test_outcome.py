"""The outcome table, written out a second time by hand: every phase, reply class and kind of failure has its verdict.

The tables here are the expectation, the ones in ``outcome.py`` the implementation. A phase, a reply class or a kind of
failure that has no row here fails, so nobody adds one without deciding what it means.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.outcome import (
    CODE_RULES,
    REPLY_RULES,
    Disposition,
    Scope,
    Verdict,
    classify_failure,
    classify_reply,
)
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import Reply, ReplyClass

# One row per phase; columns: a reply of class 2yz, 3yz, 4yz, 5yz. A dash stands for a class that the phase does not
# end with (a 250 to MAIL goes on); should such a reply decide all the same, the session has lost its thread.
BY_REPLY_CLASS = """
    pool         -                    -                    -                    -
    resolve      -                    -                    -                    -
    connect      -                    -                    -                    -
    tls          -                    -                    -                    -
    greeting     -                    -                    deferred/endpoint    deferred/endpoint
    ehlo         -                    -                    deferred/endpoint    refused/configuration
    starttls     -                    -                    deferred/endpoint    refused/configuration
    auth         -                    -                    deferred/endpoint    refused/configuration
    rset         -                    -                    deferred/session     deferred/session
    mail         -                    -                    deferred/transaction refused/transaction
    rcpt         -                    -                    deferred/recipient   refused/recipient
    data         -                    -                    deferred/transaction refused/transaction
    body         -                    -                    deferred/transaction refused/transaction
    await-final  accepted/transaction in-doubt/session     deferred/transaction refused/transaction
"""
LOST_THREAD = "deferred/session"

# One row per phase; columns: what the world did (any kind of failure but those below), a lack of the server or a limit
# of its (NOT_OFFERED, TOO_LARGE), a rule or a file of ours (CLEAR_TEXT, LOCAL), held back by limits (THROTTLED).
BY_FAILURE = """
    pool         deferred/session     refused/configuration refused/configuration deferred/endpoint
    resolve      deferred/endpoint    refused/configuration refused/configuration deferred/endpoint
    connect      deferred/endpoint    refused/configuration refused/configuration deferred/endpoint
    tls          deferred/endpoint    refused/configuration refused/configuration deferred/endpoint
    greeting     deferred/endpoint    refused/configuration refused/configuration deferred/endpoint
    ehlo         deferred/endpoint    refused/configuration refused/configuration deferred/endpoint
    starttls     deferred/endpoint    refused/configuration refused/configuration deferred/endpoint
    auth         deferred/endpoint    refused/configuration refused/configuration deferred/endpoint
    rset         deferred/session     refused/transaction   refused/configuration deferred/endpoint
    mail         deferred/session     refused/transaction   refused/configuration deferred/endpoint
    rcpt         deferred/session     refused/transaction   refused/configuration deferred/endpoint
    data         deferred/session     refused/transaction   refused/configuration deferred/endpoint
    body         deferred/session     refused/transaction   refused/configuration deferred/endpoint
    await-final  in-doubt/session     in-doubt/session      in-doubt/session      in-doubt/session
"""
WORLD = (
    FailureKind.NAME_UNKNOWN,
    FailureKind.RESOLVER_DOWN,
    FailureKind.CONNECTION_REFUSED,
    FailureKind.UNREACHABLE,
    FailureKind.TIMEOUT,
    FailureKind.CLOSED,
    FailureKind.RESET,
    FailureKind.TLS,
    FailureKind.CERTIFICATE,
    FailureKind.GARBAGE,
    FailureKind.NO_CREDENTIALS,
)
LACKING = (FailureKind.NOT_OFFERED, FailureKind.TOO_LARGE)
OURS = (FailureKind.CLEAR_TEXT, FailureKind.LOCAL)
HELD = (FailureKind.THROTTLED,)

# Codes whose meaning their first digit does not tell, with the phases where they have it.
TRANSACTION = {"mail", "rcpt", "data", "body"}
BY_CODE = {
    421: (TRANSACTION | {"await-final"}, "deferred/session"),
    503: (TRANSACTION, "refused/configuration"),
    530: (TRANSACTION, "refused/configuration"),
    535: (TRANSACTION, "refused/configuration"),
    538: (TRANSACTION, "refused/configuration"),
}


def rows(table: str) -> dict[str, list[str]]:
    """The table's rows by phase."""
    return {words[0]: words[1:] for words in (line.split() for line in table.strip().splitlines())}


def short(verdict: Verdict) -> str:
    """A verdict as the tables write it."""
    return f"{verdict.disposition.value}/{verdict.scope.value}"


def test_every_phase_has_its_rows() -> None:
    """A new phase, reply class or kind of failure must be decided here first."""
    assert list(rows(BY_REPLY_CLASS)) == [phase.value for phase in Phase]
    assert list(rows(BY_FAILURE)) == [phase.value for phase in Phase]
    assert {len(cells) for cells in rows(BY_REPLY_CLASS).values()} == {len(ReplyClass)}
    assert sorted((*WORLD, *LACKING, *OURS, *HELD), key=list(FailureKind).index) == list(FailureKind)


@pytest.mark.parametrize(("phase", "klass"), list(itertools.product(Phase, ReplyClass)))
def test_a_reply_is_judged_by_phase_and_class(phase: Phase, klass: ReplyClass) -> None:
    """Every code without a rule of its own gets the verdict of its class, whatever its text says."""
    expected = rows(BY_REPLY_CLASS)[phase.value][klass - 2]
    for code in range(klass * 100, klass * 100 + 100):
        if code in BY_CODE:
            continue
        for text in (b"", b"5.1.1 user unknown", b"4.7.1 greylisted, try again later", b"2.0.0 ok"):
            verdict = classify_reply(phase, Reply(code, (text,)))
            assert short(verdict) == (LOST_THREAD if expected == "-" else expected), code
            assert (verdict.phase, verdict.reply, verdict.failure) == (phase, Reply(code, (text,)), None)


@pytest.mark.parametrize(("phase", "code"), list(itertools.product(Phase, sorted(BY_CODE))))
def test_a_few_codes_mean_more_than_their_class(phase: Phase, code: int) -> None:
    """421 ends the session; 503, 530, 535 and 538 need a person; elsewhere their class decides."""
    phases, special = BY_CODE[code]
    by_class = rows(BY_REPLY_CLASS)[phase.value][code // 100 - 2]
    expected = special if phase.value in phases else by_class
    assert short(classify_reply(phase, Reply(code))) == (LOST_THREAD if expected == "-" else expected)


def test_each_special_code_names_its_source() -> None:
    """The implementation has these rules and no others, and each says where it comes from."""
    assert {rule.code for rule in CODE_RULES} == set(BY_CODE)
    assert all("RFC" in rule.source for rule in CODE_RULES)
    assert {phase for phase, _ in REPLY_RULES} == {
        phase for phase in Phase if set(rows(BY_REPLY_CLASS)[phase.value]) != {"-"}
    }


@pytest.mark.parametrize("code", [452, 552])
def test_enough_recipients_for_one_transaction_is_not_a_refusal(code: int) -> None:
    """452 and 552 on a RCPT after an accepted one: the rest goes in another transaction (RFC 5321 4.5.3.1.10)."""
    reply = Reply(code, (b"4.5.3 too many recipients",))
    assert short(classify_reply(Phase.RCPT, reply, accepted_before=True)) == "deferred/recipient"
    assert short(classify_reply(Phase.RCPT, Reply(550), accepted_before=True)) == "refused/recipient"
    alone = "refused/recipient" if code == 552 else "deferred/recipient"
    assert short(classify_reply(Phase.RCPT, reply)) == alone


@pytest.mark.parametrize(("phase", "kind"), list(itertools.product(Phase, FailureKind)))
def test_a_failure_is_judged_by_phase_and_kind(phase: Phase, kind: FailureKind) -> None:
    """Before the end of data nothing is lost; after it everything is in doubt, whatever ended the session."""
    column = next(i for i, kinds in enumerate((WORLD, LACKING, OURS, HELD)) if kind in kinds)
    failure = Failure(kind, phase, "text", 104)
    verdict = classify_failure(failure)
    assert short(verdict) == rows(BY_FAILURE)[phase.value][column]
    assert (verdict.phase, verdict.reply, verdict.failure) == (phase, None, failure)


@given(
    phase=st.sampled_from(Phase), code=st.integers(200, 599), text=st.binary(max_size=40), accepted_before=st.booleans()
)
def test_only_the_final_reply_can_accept_and_only_its_absence_can_leave_doubt(
    *, phase: Phase, code: int, text: bytes, accepted_before: bool
) -> None:
    """ACCEPTED and IN_DOUBT belong to AWAIT_FINAL; what may be repeated is DEFERRED and nothing else."""
    verdict = classify_reply(phase, Reply(code, (text,)), accepted_before=accepted_before)
    if verdict.disposition in {Disposition.ACCEPTED, Disposition.IN_DOUBT}:
        assert phase is Phase.AWAIT_FINAL
        assert code < 400
    assert verdict.retryable == (verdict.disposition is Disposition.DEFERRED)
    assert verdict.retryable or verdict.scope is not Scope.ENDPOINT
    assert verdict.reason.startswith(str(code))


def test_the_reason_of_a_failure_is_its_text() -> None:
    """What a person reads of a verdict without a reply is what happened."""
    verdict = classify_failure(Failure(FailureKind.TIMEOUT, Phase.MAIL, "no answer in time"))
    assert verdict.reason == "no answer in time"
    assert Verdict(Disposition.DEFERRED, Scope.SESSION, Phase.MAIL).reason == ""
