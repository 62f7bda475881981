"""Mail that is not to be submitted any more ends by the wish only if the relay has it for nobody.

It may have accepted it for some before, or the mail may be in doubt and wait to be submitted again: then the mail ends
partly accepted, or in doubt, whatever became of the wish.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from robust_email.outbox.models import OutboxMessage, OutboxRecipient
from robust_email.outbox.services.scrubbing import NO_BODY, SCRUBBED_STATES, is_scrubbed
from robust_email.outbox.states import Event, State, after
from robust_email.outbox.verdicts import Standing, withdrawn

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from django.db.models import QuerySet


def withdraw(
    rows: Sequence[OutboxMessage],
    waiting: QuerySet[OutboxMessage],
    wish: Event,
    **columns: Any,  # noqa: ANN401 - of many types
) -> tuple[int, list[str]]:
    """End these rows, as far as ``waiting`` still holds them; returns how many did, and the files to be removed."""
    groups: dict[tuple[State, bool], list[OutboxMessage]] = defaultdict(list)
    known = known_standings([row.pk for row in rows], waiting.db)
    for row in rows:
        state = after(State.QUEUED, withdrawn(known.get(row.pk, ()), wish))
        groups[state, state in SCRUBBED_STATES and is_scrubbed(row)].append(row)
    changed, files = 0, []
    for (state, bodies), part in groups.items():
        changes = {"state": state, "next_attempt_at": None, "waits_for_relay": False, **(NO_BODY if bodies else {})}
        changed += waiting.filter(pk__in=[row.pk for row in part]).update(**changes, **columns)
        files += [row.content_name for row in part if bodies]
    return changed, files


def known_standings(pks: Collection[UUID], using: str) -> dict[UUID, set[Standing]]:
    """Return what a relay has, or may have, of each of these mails; nothing for those of which it has nothing."""
    known: dict[UUID, set[Standing]] = defaultdict(set)
    if pks:
        recipients = OutboxRecipient.objects.using(using).filter(message_id__in=pks)
        found = recipients.filter(standing__in=(Standing.ACCEPTED, Standing.IN_DOUBT))
        for pk, standing in found.values_list("message_id", "standing").distinct():
            known[pk].add(Standing(standing))
    return known
