"""What a mail costs most, in one statement where PostgreSQL keeps the outbox: to be written, and to be settled.

By the ORM these are a handful of statements in a transaction, seven round trips; here each is one statement, which is a
transaction by itself. They do the same, table by table and column by column; ``tests/outbox`` runs the same tests with
both, since the other databases have the ORM's way.

Both are plain values and keys, without a join: what the server would spend on planning one is more than the work.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache, lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from django.db import DataError, connections
from django.db.models import CharField, TextField

from robust_email.outbox.conf import outbox_settings
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, SubmissionAttempt
from robust_email.outbox.states import Event, State, sources
from robust_email.outbox.verdicts import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from django.db.models import Field, Model

_MESSAGES: Final = OutboxMessage._meta.db_table  # noqa: SLF001 - Django's documented name for it
_RECIPIENTS: Final = OutboxRecipient._meta.db_table  # noqa: SLF001 - the same
_ATTEMPTS: Final = SubmissionAttempt._meta.db_table  # noqa: SLF001 - the same

_NOW: Final = "statement_timestamp()"
_WRITTEN_LATER: Final = frozenset(
    (
        *("state", "reason", "waits_for_relay", "attempts", "retries", "doubts", "lost_leases"),
        *("lease_token", "lease_owner", "lease_until", "finished_at"),
    )
)
"""Columns of a mail that begin with their default."""
_OF_RECIPIENT: Final = ("message_id", "position", "address")
"""Columns of a recipient that do not, in their order; all others do."""
_FEW: Final = 8
"""Recipients of a mail whose values are spelled out: a table made of arrays costs as much as inserting the mail."""
_OF_ONE_ATTEMPT: Final = ("message_id", "seconds", "reply", "accepted")
"""Columns in which the attempts of a window differ as a rule; in the others seldom."""


def is_in_use(using: str) -> bool:
    """Tell whether a database speaks PostgreSQL, by whatever backend of Django's."""
    return connections[using].vendor == "postgresql"


def insert(mails: Sequence[tuple[OutboxMessage, Sequence[str]]], using: str) -> None:
    """Write mails and who is to have each, due at ``send_after`` or, by the database's clock, now."""
    connection = connections[using]
    for row, _ in mails:
        row.next_attempt_at = row.send_after
    columns = [[prepare(getattr(row, name), connection) for row, _ in mails] for name, prepare in _given()]
    recipients = [(row.pk, position, to) for row, addresses in mails for position, to in enumerate(addresses)]
    if len(mails) == 1 and len(recipients) <= _FEW:
        statement = _insertion_of_one(len(recipients))
        parameters = [*(value for (value,) in columns), *(value for to in recipients for value in to)]
    else:
        statement = _insertion_of_many(using)
        parameters = [*columns, *(list(column) for column in zip(*recipients, strict=True))]
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
    for row, _ in mails:
        row._state.adding, row._state.db = False, using  # noqa: SLF001 - as bulk_create() leaves them


def settle(
    token: UUID,
    attempts: Mapping[UUID, Mapping[str, Any]],
    scrubbed: Iterable[UUID],
    marks: Sequence[UUID],
    using: str,
) -> bool:
    """Write down that mails were accepted by all their recipients, and that the ``marks`` are about to leave.

    ``attempts`` holds the columns of a ``SubmissionAttempt`` for each accepted mail, but for ``ended_at``, which is the
    time of the database.
    Returns whether all of them, accepted and marks, were still ours. Unless they were, nothing has changed.
    """
    alike: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for attempt in attempts.values():
        alike[_common_part()(attempt)].append(attempt)
    parameters: dict[str, Any] = {
        "token": token,
        "accepted": list(attempts),
        "scrubbed": list(scrubbed),
        "marks": list(marks),
        "lease": outbox_settings().lease_time,
        "how_many": len(attempts) + len(set(marks)),
    }
    for number, group in enumerate(alike.values()):
        parameters |= {f"{name}_{number}": group[0][name] for name in _in_common()}
        parameters |= {f"{name}_{number}": [attempt[name] for attempt in group] for name in _OF_ONE_ATTEMPT}
    try:
        with connections[using].cursor() as cursor:
            cursor.execute(_settlement(len(alike), using), parameters)
    except DataError:
        return False
    return True


@cache
def _insertion_of_one(recipients: int) -> str:
    """Return the statement that inserts one mail for so many recipients: no function is called for its rows."""
    message = ", ".join(_at_first(field, "%s") for field in _columns(OutboxMessage))
    to = f"({', '.join(_of_recipient(field, '%s') for field in _columns(OutboxRecipient))})"
    return _insertion(f"VALUES ({message})", f"VALUES {', '.join([to] * recipients)}")


@cache
def _insertion_of_many(using: str) -> str:
    """Return the statement that inserts any number of mails for any number of recipients."""
    messages, recipients = _columns(OutboxMessage), _columns(OutboxRecipient)
    given = [field for field in messages if field.attname in dict(_given())]
    to = [field for field in recipients if field.attname in _OF_RECIPIENT]
    return _insertion(
        _from_arrays([_at_first(field, f'"{field.column}"') for field in messages], given, using),
        _from_arrays([_of_recipient(field, f'"{field.column}"') for field in recipients], to, using),
    )


def _insertion(messages: str, recipients: str) -> str:
    return f"""
        WITH messages AS (INSERT INTO "{_MESSAGES}" ({_named(_columns(OutboxMessage))}) {messages})
        INSERT INTO "{_RECIPIENTS}" ({_named(_columns(OutboxRecipient))}) {recipients}
    """


def _from_arrays(values: Iterable[str], given: Sequence[Field[Any, Any]], using: str) -> str:
    arrays = ", ".join(f"%s::{_type(field, using)}[]" for field in given)
    return f"SELECT {', '.join(values)} FROM unnest({arrays}) AS given ({_named(given)})"  # noqa: S608 - names of our own


def _of_recipient(field: Field[Any, Any], given: str) -> str:
    return given if field.attname in _OF_RECIPIENT else _default(field)


def _at_first(field: Field[Any, Any], given: str) -> str:
    """Return what a column of a new mail holds."""
    if field.column == "created_at":
        return _NOW
    if field.column == "next_attempt_at":
        return f"coalesce({given}, {_NOW})"
    return _default(field) if field.column in _WRITTEN_LATER else given


def _default(field: Field[Any, Any]) -> str:
    value = field.get_default()
    if value is None:
        return "NULL"
    return f"'{value}'" if isinstance(value, str) else str(value)


@lru_cache(maxsize=128)
def _settlement(groups: int, using: str) -> str:
    """Return the statement for so many groups of attempts; it fails unless all the mails are ours."""
    told = "".join(_told(number, using) for number in range(groups))
    return f"""
        WITH accepted AS (
            UPDATE "{_MESSAGES}" SET
                state = '{State.ACCEPTED.value}', finished_at = {_NOW}, attempts = attempts + 1, reason = '',
                lease_token = NULL, lease_owner = '', lease_until = NULL,
                content = CASE WHEN id = ANY(%(scrubbed)s::uuid[]) THEN NULL ELSE content END,
                content_name = CASE WHEN id = ANY(%(scrubbed)s::uuid[]) THEN '' ELSE content_name END
            WHERE id = ANY(%(accepted)s::uuid[]) AND lease_token = %(token)s AND {_among(Event.ACCEPT)}
            RETURNING id
        ), marked AS (
            UPDATE "{_MESSAGES}" SET state = '{State.DATA_STARTED.value}', lease_until = {_NOW} + %(lease)s
            WHERE id = ANY(%(marks)s::uuid[]) AND lease_token = %(token)s AND {_among(Event.START_DATA)}
            RETURNING id
        ){told}
        SELECT CASE
            WHEN count(*) = %(how_many)s THEN 0
            ELSE (count(*) || ' of these mails are still this worker''s')::integer
        END
        FROM (SELECT id FROM accepted UNION ALL SELECT id FROM marked) AS ours
    """  # noqa: S608 - names of our own


def _told(number: int, using: str) -> str:
    """Return what tells the recipients of a group, and of the attempts."""
    fields = {field.attname: field for field in _columns(SubmissionAttempt)}
    own, common = ", ".join(_OF_ONE_ATTEMPT), ", ".join(_in_common())
    arrays = ", ".join(f"%({name}_{number})s::{_type(fields[name], using)}[]" for name in _OF_ONE_ATTEMPT)
    values = ", ".join(f"%({name}_{number})s::{_type(fields[name], using)}" for name in _in_common())
    return f""", recipients_{number} AS (
            UPDATE "{_RECIPIENTS}" SET
                standing = '{Standing.ACCEPTED.value}', code = %(code_{number})s,
                enhanced_code = %(enhanced_code_{number})s, reason = '', settled_at = {_NOW}
            WHERE message_id = ANY(%(message_id_{number})s::uuid[])
        ), attempts_{number} AS (
            INSERT INTO "{_ATTEMPTS}" (ended_at, {common}, {own})
            SELECT {_NOW}, {values}, given.* FROM unnest({arrays}) AS given
        )"""  # noqa: S608 - the same


def _among(event: Event) -> str:
    return f"state IN ({', '.join(repr(state.value) for state in sources(event))})"


@cache
def _given() -> tuple[tuple[str, Callable[..., Any]], ...]:
    """Return which attributes of a new mail are parameters, in their order, and what makes them fit the database."""
    return tuple(
        (field.attname, field.get_db_prep_save) for field in _columns(OutboxMessage) if "%s" in _at_first(field, "%s")
    )


@cache
def _in_common() -> tuple[str, ...]:
    """Return the columns of an attempt that are alike in a window."""
    columns = (field.attname for field in _columns(SubmissionAttempt))
    return tuple(name for name in columns if name not in {*_OF_ONE_ATTEMPT, "ended_at"})


@cache
def _common_part() -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    return itemgetter(*_in_common())


def _type(field: Field[Any, Any], using: str) -> str:
    """Return a type to cast to. A cast to ``varchar(300)`` would cut what an assignment refuses."""
    return "text" if isinstance(field, (CharField, TextField)) else str(field.cast_db_type(connections[using]))


@cache
def _columns(model: type[Model]) -> tuple[Field[Any, Any], ...]:
    """Return the columns that are given: all but a key that the database counts."""
    fields: Any = model._meta.concrete_fields  # noqa: SLF001 - Django's documented name for it
    return tuple(field for field in fields if not field.db_returning)


def _named(columns: Iterable[Field[Any, Any]]) -> str:
    return ", ".join(f'"{field.column}"' for field in columns)
