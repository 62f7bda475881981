"""What a mail costs most, in one statement where PostgreSQL keeps the outbox: to be written, and to be settled.

By the ORM these are a handful of statements in a transaction, seven round trips; here each is one statement, which is a
transaction by itself. They do the same, table by table and column by column; ``tests/outbox`` runs the same tests with
both, since the other databases have the ORM's way.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from django.db import connections

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, SubmissionAttempt
from robust_email.outbox.states import Event, State, sources
from robust_email.outbox.verdicts import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from django.db.models import Field, Model

_NOW_IF_NULL: Final = frozenset({"created_at", "next_attempt_at"})
_MESSAGES: Final = OutboxMessage._meta.db_table  # noqa: SLF001 - Django's documented name for it
_RECIPIENTS: Final = OutboxRecipient._meta.db_table  # noqa: SLF001 - the same
_ATTEMPTS: Final = SubmissionAttempt._meta.db_table  # noqa: SLF001 - the same


def is_in_use(using: str) -> bool:
    """Tell whether a database speaks PostgreSQL, by whatever backend of Django's."""
    return connections[using].vendor == "postgresql"


def insert(rows: Sequence[OutboxMessage], recipients: Iterable[OutboxRecipient], using: str) -> None:
    """Write mails with their recipients, due at ``send_after`` or, by the database's clock, now."""
    given = [
        {**_values(row, using), "n": number, "created_at": None, "next_attempt_at": row.send_after, "content": None}
        for number, row in enumerate(rows, 1)
    ]
    parameters: dict[str, Any] = {
        "messages": _json(given),
        "recipients": _json(_values(to, using) for to in recipients),
        "contents": [row.content for row in rows],
    }
    with connections[using].cursor() as cursor:
        cursor.execute(_insertion(using), parameters)
    for row in rows:
        row._state.adding, row._state.db = False, using  # noqa: SLF001 - as bulk_create() leaves them


def settle(
    token: UUID,
    attempts: Mapping[UUID, SubmissionAttempt],
    scrubbed: Iterable[UUID],
    marks: Sequence[UUID],
    using: str,
) -> tuple[int, int]:
    """Write down that mails were accepted by all their recipients, and that the ``marks`` are about to leave.

    Returns how many of the accepted and of the marks are still ours. Unless all are, nothing has changed.

    Each table is asked for the keys themselves besides: a planner guesses that the JSON holds a hundred, and would read
    a small table whole.
    """
    bare = set(scrubbed)
    parameters: dict[str, Any] = {
        "given": _json({**_values(each, using), "scrub": pk in bare} for pk, each in attempts.items()),
        "token": token,
        "accepted": list(attempts),
        "marks": list(marks),
        "all": [*attempts, *marks],
        "lease": outbox_settings().lease_time.total_seconds(),
        "how_many": len(attempts),
        "how_many_marks": len(set(marks)),
    }
    with connections[using].cursor() as cursor:
        cursor.execute(_settlement(using), parameters)
        accepted, marked = cursor.fetchone() or (0, 0)
    return int(accepted), int(marked)


@lru_cache(maxsize=8)
def _insertion(using: str) -> str:
    messages, recipients = _columns(OutboxMessage), _columns(OutboxRecipient)
    return f"""
        WITH given AS (
            SELECT * FROM json_to_recordset(%(messages)s::json) AS g (n integer, {_typed(messages, using)})
        ), messages AS (
            INSERT INTO "{_MESSAGES}" ({_named(messages)})
            SELECT {", ".join(_source_of(field.column) for field in messages)} FROM given ORDER BY n
        )
        INSERT INTO "{_RECIPIENTS}" ({_named(recipients)})
        SELECT {_named(recipients)}
        FROM json_to_recordset(%(recipients)s::json) AS g ({_typed(recipients, using)})
    """  # noqa: S608 - names of our own


def _source_of(column: str | None) -> str:
    if column == "content":
        return "(%(contents)s::bytea[])[n]"
    return f'coalesce("{column}", statement_timestamp())' if column in _NOW_IF_NULL else f'"{column}"'


@lru_cache(maxsize=8)
def _settlement(using: str) -> str:
    attempts = _columns(SubmissionAttempt)
    told = ", ".join("may.now" if field.column == "ended_at" else f'given."{field.column}"' for field in attempts)
    return f"""
        WITH given AS MATERIALIZED (
            SELECT * FROM json_to_recordset(%(given)s::json) AS g (scrub boolean, {_typed(attempts, using)})
        ), held AS MATERIALIZED (
            SELECT id, state FROM "{_MESSAGES}"
            WHERE id = ANY(%(all)s::uuid[]) AND lease_token = %(token)s::uuid FOR UPDATE
        ), ours AS MATERIALIZED (
            SELECT
                count(*) FILTER (WHERE id = ANY(%(accepted)s::uuid[]) AND {_among(Event.ACCEPT)}) AS accepted,
                count(*) FILTER (WHERE id = ANY(%(marks)s::uuid[]) AND {_among(Event.START_DATA)}) AS marked
            FROM held
        ), may AS MATERIALIZED (
            SELECT clock_timestamp() AS now FROM ours
            WHERE accepted = %(how_many)s AND marked = %(how_many_marks)s
        ), accepted AS (
            UPDATE "{_MESSAGES}" AS message SET
                state = '{State.ACCEPTED.value}', finished_at = may.now, attempts = message.attempts + 1, reason = '',
                lease_token = NULL, lease_owner = '', lease_until = NULL,
                content = CASE WHEN given.scrub THEN NULL ELSE message.content END,
                content_name = CASE WHEN given.scrub THEN '' ELSE message.content_name END
            FROM given, may WHERE message.id = given.message_id AND message.id = ANY(%(accepted)s::uuid[])
        ), marked AS (
            UPDATE "{_MESSAGES}" AS message SET
                state = '{State.DATA_STARTED.value}', lease_until = may.now + %(lease)s * interval '1 second'
            FROM may WHERE message.id = ANY(%(marks)s::uuid[])
        ), recipients AS (
            UPDATE "{_RECIPIENTS}" AS recipient SET
                standing = '{Standing.ACCEPTED.value}', code = given.code, enhanced_code = given.enhanced_code,
                reason = '', settled_at = may.now
            FROM given, may
            WHERE recipient.message_id = given.message_id AND recipient.message_id = ANY(%(accepted)s::uuid[])
        ), attempts AS (
            INSERT INTO "{_ATTEMPTS}" ({_named(attempts)}) SELECT {told} FROM given, may
        )
        SELECT accepted, marked FROM ours
    """  # noqa: S608 - names of our own


def _among(event: Event) -> str:
    return f"state IN ({', '.join(repr(state.value) for state in sources(event))})"


@cache
def _columns(model: type[Model]) -> tuple[Field[Any, Any], ...]:
    """Return the columns that are given: all but a key that the database counts."""
    fields: Any = model._meta.concrete_fields  # noqa: SLF001 - Django's documented name for it
    return tuple(field for field in fields if not field.db_returning)


def _named(columns: Iterable[Field[Any, Any]]) -> str:
    return ", ".join(f'"{field.column}"' for field in columns)


def _typed(columns: Iterable[Field[Any, Any]], using: str) -> str:
    return ", ".join(f'"{field.column}" {field.db_type(connections[using])}' for field in columns)


def _values(instance: Model, using: str) -> dict[str | None, Any]:
    connection = connections[using]
    return {
        field.column: None
        if field.get_internal_type() == "BinaryField"  # octets travel beside
        else field.get_db_prep_save(getattr(instance, field.attname), connection)
        for field in _columns(type(instance))
    }


def _json(given: Iterable[dict[Any, Any]]) -> str:
    return json.dumps(list(given), default=str)
