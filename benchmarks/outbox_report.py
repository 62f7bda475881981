"""What the outbox's figures say: promises judged, and their part of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]

OURS, POST_OFFICE, MAILER, AT_ONCE = "ours", "django-post_office", "django-mailer", ", 100 by one call"
RATIOS = [
    (MAILER, "", 50, 10.0),
    (POST_OFFICE, "", 50, 5.0),
    (MAILER, "", 0, 2.0),
    (POST_OFFICE, "", 0, 2.0),
    (MAILER, AT_ONCE, 0, 2.0),
    (POST_OFFICE, AT_ONCE, 0, 2.0),
]
"""Peer, way of sending, round trip (ms): enqueue to accepted at least so many times its mails per second.

One by one and without a delay, all outboxes wait for the same disk: one commit for each mail.
"""
GROWTH = 1.5
"""A claim among a million waiting mails costs less than so many times that among a thousand."""
FLAT = 1.15
"""The peak of a drain's memory is at most so many times that after a tenth of it."""


def judge(found: Row | None) -> list[Row]:
    """Each promise: its text, the figure (``None`` if not measured in this run), and one of two bounds."""
    return list(_promises(found or {"throughput": [], "latency": [], "claims": [], "memory": None}))


def _promises(found: Row) -> Iterator[Row]:
    for peer, way, rtt, factor in RATIOS:
        ours, other = _rate(found, OURS + way, rtt), _rate(found, peer + way, rtt)
        value = ours / other if ours and other else None
        yield {"claim": f"enqueued to accepted{way}, outbox / {peer}, RTT {rtt}", "value": value, "at_least": factor}
    grown = [row["growth"] for row in found["claims"] if row["waiting"] >= 1_000_000]
    yield {"claim": "claim time, a million waiting / a thousand", "value": max(grown, default=None), "at_most": GROWTH}
    memory = found["memory"]
    flat = memory["end_mb"] / memory["early_mb"] if memory else None
    yield {"claim": "drain memory, at the end / after a tenth", "value": flat, "at_most": FLAT}


def _rate(found: Row, contender: str, rtt: int) -> float | None:
    for row in found["throughput"]:
        if (row["contender"], row["rtt"]) == (contender, rtt):
            return float(row["mails_per_second"])
    return None


def page(found: Row | None) -> Iterator[str]:
    """The lines of the page."""
    if found is None:
        yield "Not measured in this run: PostgreSQL or Redis is missing."
        return
    yield (
        "One PostgreSQL, one Redis and one sink for all. Mails are written one by one, each committed (or a hundred by "
        "one `send_messages()`), then drained by the outbox's own command, with five threads where it has threads and "
        "sessions opened anew. Both together is what counts. Statements, and octets of the database's log, are per "
        "mail.\n"
    )
    yield "| RTT | outbox | mails per second, both | enqueued | drained | statements | octets written |"
    yield "|---|---|---|---|---|---|---|"
    for row in found["throughput"]:
        yield (
            f"| {row['rtt']} ms | {row['contender']} | {row['mails_per_second']:.0f} "
            f"| {row['enqueued_per_second']:.0f} | {row['drained_per_second']:.0f} "
            f"| {row['statements_to_enqueue'] + row['statements_to_drain']:.1f} | {row['octets_written']:.0f} |"
        )
    yield "\n| RTT | woken by Celery | milliseconds from `send_mail()` to the 250 |\n|---|---|---|"
    for row in found["latency"]:
        yield f"| {row['rtt']} ms | {row['contender']} | {row['milliseconds']:.0f} |"
    yield "\n| mails waiting | mails ended | milliseconds for a claim of 100 | growth |\n|---|---|---|---|"
    for row in found["claims"]:
        yield f"| {row['waiting']:,} | {row['ended']:,} | {row['milliseconds']:.1f} | {row['growth']:.2f} |"
    memory, outage = found["memory"], found["outage"]
    yield (
        f"\nA drain of {memory['mails']:,} mails: {memory['early_mb']:.0f} MB after a tenth, {memory['end_mb']:.0f} MB "
        f"at the end. From the return of a relay to the last of {outage['mails']:,} mails that had waited for it: "
        f"{outage['seconds']:.1f} s."
    )
