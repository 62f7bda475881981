"""The outbox under random events: workers that claim, mark, die and come back late, people and relays that interfere.

A model beside the database knows what each worker has done; after every step it is asked whether two held one mail,
whether an accepted one could go again, whether an end hides what some have or may have, and at the end whether every
mail comes to its end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import EmailMessage
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from robust_email.outbox import enqueue
from robust_email.outbox.database import database
from robust_email.outbox.models import DoubtPolicy, OutboxMessage, OutboxRecipient, OutboxRelay
from robust_email.outbox.services import claims, operating, settling, sweeping
from robust_email.outbox.states import FINAL, LEASED, State
from robust_email.outbox.verdicts import Standing, is_open
from robust_email.smtp import Disposition, Phase, Reply, Scope, SubmissionReport, Verdict
from tests.outbox import databases

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID

    from robust_email.outbox.models import OutboxMessage as Row

OUTCOMES = {
    "accepted": Verdict(Disposition.ACCEPTED, Scope.TRANSACTION, Phase.AWAIT_FINAL, Reply(250, (b"2.0.0 ok",))),
    "deferred": Verdict(Disposition.DEFERRED, Scope.TRANSACTION, Phase.MAIL, Reply(451, (b"later",))),
    "refused": Verdict(Disposition.REFUSED, Scope.TRANSACTION, Phase.MAIL, Reply(550, (b"no",))),
    "in-doubt": Verdict(Disposition.IN_DOUBT, Scope.SESSION, Phase.AWAIT_FINAL),
    "down": Verdict(Disposition.DEFERRED, Scope.ENDPOINT, Phase.CONNECT),
    "configuration": Verdict(Disposition.REFUSED, Scope.CONFIGURATION, Phase.AUTH, Reply(535, (b"no",))),
}


PER_RECIPIENT = {"accepted", "refused", "in-doubt"}
"""May be true of one recipient and not of another."""
PEOPLE = ["ann@example.net", "bob@example.net", "eve@example.net"]


def open_to(claim: claims.Claim, row: Row) -> list[str]:
    """Return those whom the claim names to the relay, as the hand-over does."""
    policy = DoubtPolicy(row.in_doubt)
    return [to.address for to in claim.recipients[row.pk] if is_open(to.standing, policy)]


def verdicts_for(to: list[str], outcome: str, dice: Random) -> dict[str, Verdict]:
    """Return the outcome for the first, and for each of the others if it may be true of some alone: it or later."""
    verdicts = dict.fromkeys(to, OUTCOMES[outcome])
    if outcome in PER_RECIPIENT:
        verdicts |= {each: OUTCOMES["deferred"] for each in to[1:] if dice.random() < 0.5}
    return verdicts


@dataclass(eq=False)
class Worker:
    """One claim and how far its worker came with it."""

    claim: claims.Claim
    marked: set[UUID] = field(default_factory=set)

    def rows(self) -> list[Row]:
        """Return the mails it believes it holds."""
        return list(self.claim.rows)


class Outbox(RuleBasedStateMachine):
    """Events in any order."""

    workers = Bundle("workers")
    mails = Bundle("mails")

    def __init__(self) -> None:
        super().__init__()
        self.accepted_by_relay: Counter[tuple[UUID, str]] = Counter()
        self.accepted_for_good: set[tuple[UUID, str]] = set()
        self.settled_as_accepted: set[UUID] = set()

    @rule(
        target=mails,
        to=st.integers(1, 3),
        policy=st.sampled_from(["resend", "hold"]),
        key=st.none() | st.sampled_from("ab"),
        later=st.booleans(),
        expires=st.booleans(),
    )
    def enqueue_one(self, *, to: int, policy: Any, key: str | None, later: bool, expires: bool) -> UUID:  # noqa: ANN401 - a Literal
        """Somebody sends a mail, to one or several, now or later, for ever or for a while."""
        message = EmailMessage("hi", "", "shop@example.org", PEOPLE[:to])
        now = timezone.now()
        return enqueue(
            message,
            in_doubt=policy,
            supersede_key=key,
            send_after=now + timedelta(hours=1) if later else None,
            expires_at=now + timedelta(hours=2) if expires else None,
        ).pk

    @rule(target=workers, limit=st.integers(1, 3))
    def claim(self, limit: int) -> Any:  # noqa: ANN401 - hypothesis' multiple results
        """A worker takes what is due. Nothing that a relay has accepted for certain may be among it."""
        OutboxRelay.objects.all().delete()
        now = timezone.now()
        OutboxMessage.objects.filter(state=State.QUEUED).exclude(send_after__gt=now).update(
            next_attempt_at=now - timedelta(seconds=1)
        )
        claim = claims.claim(limit)
        for row in claim.rows:
            assert row.pk not in self.settled_as_accepted
            assert row.send_after is None or row.send_after <= timezone.now()
            assert row.expires_at is None or row.expires_at > now
        return Worker(claim) if claim.rows else multiple()

    @rule(worker=workers)
    def start_data(self, worker: Worker) -> None:
        """It marks its mails; only who still holds all of them may write to the relay."""
        pks = [row.pk for row in worker.rows()]
        held = set(OutboxMessage.objects.filter(lease_token=worker.claim.token).values_list("pk", flat=True))
        try:
            settling.settle(worker.claim, [], pks, database())
        except claims.LeaseLost:
            assert held != set(pks)
        else:
            assert held == set(pks)
            worker.marked |= held

    @rule(pk=mails)
    def its_time_comes(self, pk: UUID) -> None:
        """A mail that was to go later may go now."""
        OutboxMessage.objects.filter(pk=pk, send_after__isnull=False).update(send_after=timezone.now())

    @rule(pk=mails)
    def it_expires(self, pk: UUID) -> None:
        """A mail that has an end is worthless now, and somebody sweeps."""
        moment = timezone.now() - timedelta(seconds=1)
        OutboxMessage.objects.filter(pk=pk, expires_at__isnull=False).update(expires_at=moment)
        sweeping.sweep()
        assert not OutboxMessage.objects.filter(state=State.QUEUED, expires_at__lte=moment).exists()

    @rule(worker=consumes(workers), outcome=st.sampled_from(sorted(OUTCOMES)), dice=st.randoms(use_true_random=False))
    def settle(self, worker: Worker, outcome: str, dice: Random) -> None:
        """It comes to an end, perhaps long after its lease: what it writes counts only while it holds the mail.

        With several recipients, what it comes to may be true of the first alone, and the others are deferred.
        """
        for row in worker.rows():
            if OUTCOMES[outcome].phase is Phase.AWAIT_FINAL and row.pk not in worker.marked:
                continue  # no end of data without the mark
            to = open_to(worker.claim, row)
            verdicts = verdicts_for(to, outcome, dice)
            accepted = [(row.pk, each) for each in to if verdicts[each] is OUTCOMES["accepted"]]
            self.accepted_by_relay.update(accepted)
            before = OutboxMessage.objects.get(pk=row.pk)
            report = SubmissionReport(row.message_id, "relay:25", verdicts)
            written = settling.settle(worker.claim, [settling.Finished(row, report)], (), database())
            after = OutboxMessage.objects.get(pk=row.pk)
            if before.lease_token != worker.claim.token:
                assert written == []
                assert (after.state, after.lease_token, after.attempts) == (
                    before.state,
                    before.lease_token,
                    before.attempts,
                )
                continue
            self.accepted_for_good.update(accepted)
            if len(accepted) == len(worker.claim.recipients[row.pk]):
                assert after.state == State.ACCEPTED
            if after.state == State.ACCEPTED:
                self.settled_as_accepted.add(row.pk)

    @rule(worker=consumes(workers))
    def give_back(self, worker: Worker) -> None:
        """It is asked to end: what it has not begun goes back."""
        claims.release(worker.claim.token, [row.pk for row in worker.rows() if row.pk not in worker.marked])

    @rule(everything=st.booleans())
    def leases_run_out(self, *, everything: bool) -> None:
        """Workers are dead, or slow, or their clocks wrong; the sweep takes their mails."""
        leased = OutboxMessage.objects.filter(state__in=LEASED)
        if not everything:
            leased = leased.filter(pk__in=list(leased.values_list("pk", flat=True)[:1]))
        leased.update(lease_until=timezone.now() - timedelta(seconds=1))
        sweeping.sweep()

    @rule(worker=workers)
    def sign_of_life(self, worker: Worker) -> None:
        """A heartbeat reaches only what the worker still holds."""
        held = OutboxMessage.objects.filter(lease_token=worker.claim.token).count()
        assert claims.extend_lease(worker.claim.token) == held

    @rule(pk=mails, what=st.sampled_from(["cancel", "requeue", "accepted", "resend"]))
    def person(self, pk: UUID, what: str) -> None:
        """A person decides; where the state does not allow it, nothing changes."""
        before = OutboxMessage.objects.get(pk=pk)
        try:
            if what == "cancel":
                operating.cancel(pk)
            elif what == "requeue":
                operating.requeue(pk)
            else:
                operating.resolve(pk, accepted=what == "accepted")
                if OutboxMessage.objects.get(pk=pk).state == State.ACCEPTED:
                    self.settled_as_accepted.add(pk)
        except operating.NotPossible:
            assert OutboxMessage.objects.get(pk=pk).state == before.state
        else:
            assert before.state not in LEASED
            assert before.state != State.ACCEPTED

    @invariant()
    def an_accepted_mail_stays(self) -> None:
        """What was written down as accepted is accepted for ever."""
        rows = OutboxMessage.objects.filter(pk__in=self.settled_as_accepted)
        assert set(rows.values_list("state", flat=True)) <= {State.ACCEPTED}

    @invariant()
    def an_acceptance_stays(self) -> None:
        """Who has accepted and was written down so has accepted for ever."""
        accepted = OutboxRecipient.objects.filter(standing=Standing.ACCEPTED)
        assert self.accepted_for_good <= set(accepted.values_list("message_id", "address"))

    @invariant()
    def no_end_hides_anything(self) -> None:
        """A mail that some have, or may have, is neither refused, dead, expired nor superseded.

        Cancelled it may be with a doubt: who cancels one has decided it.
        """
        silent = {State.REFUSED, State.DEAD, State.EXPIRED, State.SUPERSEDED}
        known = OutboxRecipient.objects.filter(standing__in=[Standing.ACCEPTED, Standing.IN_DOUBT])
        assert not known.filter(message__state__in=silent).exists()
        assert not known.filter(message__state=State.CANCELLED, standing=Standing.ACCEPTED).exists()

    @invariant()
    def doubles_are_explained(self) -> None:
        """A relay accepted a mail twice for one recipient only if the row says that it was in doubt."""
        rows = OutboxMessage.objects.in_bulk([pk for pk, _ in self.accepted_by_relay])
        for (pk, _), times in self.accepted_by_relay.items():
            late = 1 if rows[pk].state in LEASED else 0
            assert times <= 1 + rows[pk].doubts + late

    def teardown(self) -> None:
        """Left alone with one worker and a good relay, every mail comes to its end."""
        OutboxMessage.objects.filter(state__in=LEASED).update(lease_until=timezone.now() - timedelta(seconds=1))
        sweeping.sweep()
        OutboxRelay.objects.all().delete()
        OutboxMessage.objects.filter(state=State.QUEUED).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        while (claim := claims.claim(50)).rows:
            settling.settle(claim, [], [row.pk for row in claim.rows], database())
            for row in claim.rows:
                report = SubmissionReport("", "relay:25", dict.fromkeys(open_to(claim, row), OUTCOMES["accepted"]))
                settling.settle(claim, [settling.Finished(row, report)], (), database())
        assert set(OutboxMessage.objects.values_list("state", flat=True)) <= {state.value for state in FINAL}
        databases.empty(database())


@pytest.mark.parametrize("outbox_url", ["sqlite", "postgres"], indirect=True)
def test_random_events(outbox_url: str, relay: Any) -> None:  # noqa: ANN401 - a fixture for its effect
    """Never two holders, no accepted mail again, every mail ends."""
    run_state_machine_as_test(
        Outbox,
        settings=settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
