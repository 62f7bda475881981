"""Two who note the same thing at the same time, on databases that are not in memory."""

from __future__ import annotations

import threading

from django.db import connections

from robust_email.suppression.models import Effect, Source, SuppressedAddress, SuppressionEvidence
from robust_email.suppression.services import Evidence, note
from tests.suppression.conftest import ALIAS
from tests.suppression.letters import ANN, OURS


def at_once(*evidence: Evidence) -> list[Effect]:
    """Note all of these in threads of their own that begin together."""
    barrier = threading.Barrier(len(evidence))
    effects: list[Effect] = []

    def work(each: Evidence) -> None:
        barrier.wait(5)
        effects.append(note(each))
        connections[ALIAS].close()

    threads = [threading.Thread(target=work, args=(each,)) for each in evidence]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return effects


def test_the_same_report_in_two_workers(own_database: None) -> None:
    """Read by four at once, a report is one suppression and one piece of evidence, and nobody fails."""
    same = Evidence(address=ANN, source=Source.REPORT, status="5.1.1", message_id=OURS)
    assert at_once(same, same, same, same) == [Effect.SUPPRESSED] * 4
    assert (SuppressedAddress.objects.count(), SuppressionEvidence.objects.count()) == (1, 1)


def test_two_reports_about_one_address(own_database: None) -> None:
    """Two reports at once are one suppression for the longer term, and two pieces of evidence."""
    short = Evidence(address=ANN, source=Source.REPORT, status="5.1.2", message_id=OURS)
    complaint = Evidence(address=ANN, source=Source.FEEDBACK, message_id=OURS)
    assert at_once(short, complaint) == [Effect.SUPPRESSED] * 2
    assert SuppressedAddress.objects.get().expires_at is None
    assert SuppressionEvidence.objects.count() == 2
