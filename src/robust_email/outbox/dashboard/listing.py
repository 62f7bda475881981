"""Lists of mails over a table of any size: pages without a count of it, filters and a search that indexes answer.

The newest are first, by the key, which has the time in its first bits. Where a state is chosen, the list follows the
partial index over that state, so that the five mails that are dead are not looked for among ten million.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import UUID

from django.contrib.admin import SimpleListFilter
from django.core.paginator import Paginator
from django.db.models import Prefetch, Q
from django.utils.functional import cached_property

from robust_email.outbox.database import database
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, SubmissionTally
from robust_email.outbox.services.tallying import ALL_RELAYS, SLICE
from robust_email.outbox.states import FINAL, LEASED, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.admin import ModelAdmin
    from django.db.models import QuerySet
    from django.http import HttpRequest

    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

REACH: Final = 2_000
"""Mails that a list reaches back to; what is older is found by a filter or by a search."""
DAY: Final = 86_400
NEWEST: Final = 500
"""Mails among which kinds are looked for, to offer them as a filter."""
MOST_OFFERED: Final = 30
"""Choices of a filter."""
SIFTED: Final = 100_000
"""The newest mails, among which those are looked for that no index tells apart."""
_COMMON: Final = frozenset({State.ACCEPTED, State.EXPIRED, State.SUPERSEDED, State.CANCELLED})
"""There may be millions of them."""


class ReachablePaginator(AnyPaginator):
    """Counts to ``REACH`` and no further."""

    @cached_property
    def count(self) -> int:
        """Return how many there are to page through; any of them are as good for that as the newest."""
        rows: QuerySet[OutboxMessage] = self.object_list  # type: ignore[assignment]  # the admin gives a query
        return rows.order_by()[:REACH].count()


def made_since(seconds: float) -> UUID:
    """Return the smallest key of a mail that was made within the last seconds (RFC 9562 5.7: the time comes first)."""
    return UUID(int=int((time.time() - seconds) * 1000) << 80)


def chosen_state(request: HttpRequest) -> State | None:
    """Return the state that the list is narrowed to."""
    value = request.GET.get(StateFilter.parameter_name)
    return State(value) if value in State.values else None


class StateFilter(SimpleListFilter):
    """By state."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:  # noqa: ARG002 - Django's
        """Offer them in the order of a mail's life."""
        return [(state.value, state.value) for state in State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> QuerySet[OutboxMessage]:
        """Narrow, in the words of the partial indexes."""
        state = chosen_state(request)
        return queryset if state is None else queryset.filter(**{"state": state, f"{_column_of(state)}__isnull": False})


def _column_of(state: State) -> str:
    """Return the column that is set in this state, and indexed where it is."""
    if state in FINAL:
        return "finished_at"
    return "lease_until" if state in LEASED else "next_attempt_at"


def ordering_for(request: HttpRequest) -> tuple[str, ...]:
    """Return the order that an index has: the newest first, what waits by when it goes on."""
    state = chosen_state(request)
    if state is None:
        return ("-id",)
    column = _column_of(state)
    return (f"-{column}" if state in FINAL else column, "-id")


class MadeFilter(SimpleListFilter):
    """By age."""

    title = "made within"
    parameter_name = "within"
    _SECONDS: ClassVar = {"hour": 3_600, "day": DAY, "week": 7 * DAY}

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:  # noqa: ARG002 - Django's
        """Offer some."""
        return [("hour", "the last hour"), ("day", "the last day"), ("week", "the last week")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> QuerySet[OutboxMessage]:  # noqa: ARG002 - Django's
        """Narrow by the key."""
        seconds = self._SECONDS.get(self.value() or "")
        return queryset if seconds is None else queryset.filter(pk__gte=made_since(seconds))


class _AmongNewest(SimpleListFilter):
    """By a column without an index: among the newest, unless a state narrows the list to few."""

    def offered(self, request: HttpRequest, values: Iterable[str]) -> list[tuple[str, str]]:
        """Return choices, what is chosen by the page's address among them: it may be one that was not used lately."""
        chosen = request.GET.get(self.parameter_name or "", "")
        return [(each, each) for each in sorted({*values, chosen} - {""})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> QuerySet[OutboxMessage]:
        """Narrow."""
        if self.value() is None:
            return queryset
        chosen = queryset.filter(**{self.parameter_name or "": self.value()})
        state = chosen_state(request)
        if state is not None and state not in _COMMON:
            return chosen
        keys = OutboxMessage.objects.using(database()).order_by("-pk").values_list("pk", flat=True)
        oldest = list(keys[SIFTED : SIFTED + 1])
        return chosen.filter(pk__gt=oldest[0]) if oldest else chosen


class RelayFilter(_AmongNewest):
    """By relay."""

    title = "relay"
    parameter_name = "relay"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:  # noqa: ARG002 - Django's
        """Offer those that were used within a day."""
        since = int(time.time() - DAY) // SLICE
        tallies = SubmissionTally.objects.using(database()).filter(slice__gte=since).exclude(relay=ALL_RELAYS)
        names = tallies.order_by("relay").values_list("relay", flat=True).distinct()
        return self.offered(request, names[:MOST_OFFERED])


class KindFilter(_AmongNewest):
    """By kind."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:  # noqa: ARG002 - Django's
        """Offer those of the newest mails."""
        newest = OutboxMessage.objects.using(database()).order_by("-pk").values_list("kind", flat=True)[:NEWEST]
        return self.offered(request, sorted(set(newest))[:MOST_OFFERED])


def with_first_recipients(rows: QuerySet[OutboxMessage]) -> QuerySet[OutboxMessage]:
    """Leave the bodies where they are, and bring two recipients of each: the second tells that there are more."""
    first = OutboxRecipient.objects.filter(position__lt=2).order_by("position")
    return rows.defer("content", "relay_sealed").prefetch_related(Prefetch("recipients", first))


def matching(rows: QuerySet[OutboxMessage], term: str) -> QuerySet[OutboxMessage]:
    """Narrow to one mail's key, its Message-ID, or the whole address of a recipient."""
    term = term.strip()
    try:
        return rows.filter(pk=UUID(term))
    except ValueError:
        pass
    local_part, _, domain = term.rpartition("@")
    spellings = {term, f"{local_part}@{domain.lower()}" if local_part else term}
    recipients = OutboxRecipient.objects.using(rows.db).filter(address__in=spellings).order_by("-pk")
    keys = set(recipients.values_list("message_id", flat=True)[:REACH])
    ids = {term, term if term.startswith("<") else f"<{term}>"}
    keys |= set(OutboxMessage.objects.using(rows.db).filter(message_id__in=ids).values_list("pk", flat=True)[:REACH])
    return rows.filter(Q(pk__in=keys))
