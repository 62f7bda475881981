"""From ``send_mail()`` to the relay's ledger, on each database: what is accepted, refused, deferred, in doubt."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.mail import EmailMultiAlternatives, get_connection, send_mail
from django.db import connections, transaction
from django.utils import timezone

from robust_email.outbox import enqueue, selectors
from robust_email.outbox.database import database
from robust_email.outbox.dispatch import run_batch, run_one
from robust_email.outbox.models import OutboxMessage, OutboxRecipient, OutboxRelay, Priority, SubmissionAttempt
from robust_email.outbox.services import claims, operating
from robust_email.outbox.services.sweeping import purge, sweep
from robust_email.testing import At, Close, Fault, Reply, TakeThenClose

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from robust_email.testing import ScriptedServer

ANN, BOB = "ann@example.net", "bob@example.net"


def mail(*to: str, subject: str = "hi", **options: Any) -> EmailMultiAlternatives:  # noqa: ANN401 - Django's
    """Make a message."""
    return EmailMultiAlternatives(subject, "there", "shop@example.org", to or [ANN], **options)


def the_row() -> OutboxMessage:
    """Return the only row."""
    return OutboxMessage.objects.get()


def make_due(*rows: OutboxMessage) -> None:
    """Let the time of waiting mails come."""
    chosen = OutboxMessage.objects.filter(next_attempt_at__isnull=False)
    if rows:
        chosen = chosen.filter(pk__in=[row.pk for row in rows])
    chosen.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    OutboxRelay.objects.update(since=timezone.now(), ask_again_at=timezone.now())


def standings() -> dict[str, str]:
    """Return what is known of each recipient of the only row."""
    return dict(OutboxRecipient.objects.order_by("position").values_list("address", "standing"))


def test_a_mail_is_accepted(relay: ScriptedServer) -> None:
    """A mail is a row until a batch is run; then the relay has it, once, and the row says so."""
    assert send_mail("hi", "there", "shop@example.org", [ANN, BOB]) == 1
    assert relay.accepted == []
    assert run_batch().claimed == 1
    row = the_row()
    assert (row.state, row.attempts, row.lease_token) == ("accepted", 1, None)
    [message] = relay.accepted
    assert message.forward_paths == (ANN, BOB)
    assert message.data == bytes(row.content or b"")
    assert message.message_id == row.message_id
    assert set(standings().values()) == {"accepted"}
    [attempt] = SubmissionAttempt.objects.all()
    assert (attempt.disposition, attempt.code, attempt.accepted) == ("accepted", 250, 2)
    assert run_batch().claimed == 0
    assert [entry.what for entry in selectors.timeline(row)] == ["enqueued", "accepted", "accepted"]


def test_what_is_stored_arrives_byte_for_byte(relay: ScriptedServer) -> None:
    """Attachments, alternatives, inline parts and headers beyond ASCII arrive as they were rendered."""
    message = mail(subject="Grüße", headers={"X-Shop": "Schön & gut"})
    message.attach_alternative("<p>Grüße</p>", "text/html")
    message.attach("zählung.bin", bytes(range(256)), "application/octet-stream")
    message.send()
    stored = bytes(the_row().content or b"")
    run_batch()
    assert [each.data for each in relay.accepted] == [stored]


def test_many_mails_are_written_together(relay: ScriptedServer, django_assert_max_num_queries: Any) -> None:  # noqa: ANN401 - a fixture of pytest-django
    """Two hundred mails cost a few statements at the enqueue, and all arrive once."""
    messages = [mail(f"user{number}@example.net") for number in range(200)]
    with django_assert_max_num_queries(12, connection=connections[database()]):
        assert get_connection().send_messages(messages) == 200
    while run_batch().claimed:
        pass
    assert len({each.message_id for each in relay.accepted}) == len(relay.accepted) == 200
    assert set(OutboxMessage.objects.values_list("state", flat=True)) == {"accepted"}


def test_a_rollback_leaves_nothing(relay: ScriptedServer) -> None:
    """No row and no mail is left of a transaction that was rolled back."""
    with pytest.raises(RuntimeError, match="no order"), transaction.atomic(using=database()):
        send_mail("hi", "there", "shop@example.org", [ANN])
        raise RuntimeError("no order")
    assert not OutboxMessage.objects.exists()
    assert run_batch().claimed == 0


def test_a_malformed_message_enqueues_none(relay: ScriptedServer) -> None:
    """Of several messages none is enqueued if one cannot be, and the caller is told."""
    with pytest.raises(ValueError, match=r"(?i)header"):
        get_connection().send_messages([mail(), mail(subject="a\nBcc: x@example.net")])
    assert not OutboxMessage.objects.exists()


def test_refused_for_good(relay: ScriptedServer) -> None:
    """A 550 is the end, with the relay's words."""
    relay.add_fault(Fault(At.RCPT, Reply("550 5.1.1 No such user")))
    send_mail("hi", "there", "shop@example.org", [ANN])
    run_batch()
    row = the_row()
    assert (row.state, row.reason) == ("refused", "550 5.1.1 No such user")
    make_due()
    assert run_batch().claimed == 0


def test_only_the_deferred_recipient_is_tried_again(relay: ScriptedServer) -> None:
    """Who has accepted is never named again; who was deferred is, with the same octets."""
    relay.add_fault(Fault(At.RCPT, Reply("451 4.7.1 later"), subject="bob", times=1))
    send_mail("hi", "there", "shop@example.org", [ANN, BOB])
    run_batch()
    row = the_row()
    assert (row.state, row.retries, standings()) == ("queued", 1, {ANN: "accepted", BOB: "deferred"})
    assert 59 < (row.next_attempt_at - timezone.now()).total_seconds() <= 61  # type: ignore[operator]  # it waits
    make_due()
    run_batch()
    assert the_row().state == "accepted"
    first, second = relay.accepted
    assert (first.forward_paths, second.forward_paths) == ((ANN,), (BOB,))
    assert first.data == second.data


def test_the_schedule_ends(relay: ScriptedServer) -> None:
    """After the last retry the mail is dead, and can be queued again by hand."""
    relay.add_fault(Fault(At.MAIL, Reply("451 4.3.0 not now")))
    send_mail("hi", "there", "shop@example.org", [ANN])
    for _ in range(6):
        assert the_row().state == "queued"
        run_batch()
        make_due()
    row = the_row()
    assert (row.state, row.attempts, row.retries) == ("dead", 6, 5)
    relay.clear_faults()
    operating.requeue(row.pk)
    run_batch()
    assert the_row().state == "accepted"
    assert len(relay.accepted) == 1


def test_in_doubt_is_resent_with_the_same_octets(relay: ScriptedServer) -> None:
    """A session lost after the end of data is a doubt; the same octets go again, and the row says how often."""
    relay.add_fault(Fault(At.FINAL, TakeThenClose(), times=1))
    send_mail("hi", "there", "shop@example.org", [ANN])
    run_batch()
    row = the_row()
    assert (row.state, row.doubts, standings()) == ("queued", 1, {ANN: "in-doubt"})
    make_due()
    run_batch()
    assert (the_row().state, the_row().doubts) == ("accepted", 1)
    first, second = relay.accepted
    assert (first.data, first.message_id) == (second.data, second.message_id)


@pytest.mark.parametrize("accepted", [True, False])
def test_in_doubt_is_held_for_a_person(relay: ScriptedServer, *, accepted: bool) -> None:
    """With ``hold`` nothing goes again until a person has decided; then it does, or does not."""
    relay.add_fault(Fault(At.FINAL, TakeThenClose(), times=1))
    row = enqueue(mail(), in_doubt="hold")
    run_batch()
    assert the_row().state == "in-doubt"
    assert run_batch().claimed == 0
    operating.resolve(row.pk, accepted=accepted)
    run_batch()
    assert the_row().state == "accepted"
    assert len(relay.accepted) == (1 if accepted else 2)


def test_a_key_names_one_mail(relay: ScriptedServer) -> None:
    """The same dedupe key twice is one mail, also after it was accepted."""
    first = enqueue(mail(), dedupe_key="welcome:42")
    with transaction.atomic(using=database()):
        assert enqueue(mail(), dedupe_key="welcome:42").pk == first.pk
    run_batch()
    assert enqueue(mail(), dedupe_key="welcome:42").pk == first.pk
    assert run_batch().claimed == 0
    assert len(relay.accepted) == 1


def test_a_new_code_supersedes_the_old(relay: ScriptedServer) -> None:
    """A waiting mail with the same supersede key gives way, and its secret body goes with it."""
    old = enqueue(mail(subject="old"), supersede_key="code:42", sensitive=True)
    enqueue(mail(subject="new"), supersede_key="code:42", sensitive=True)
    run_batch()
    old.refresh_from_db()
    assert (old.state, old.content) == ("superseded", None)
    [message] = relay.accepted
    assert b"Subject: new" in message.data


def test_a_sensitive_body_is_removed_once_accepted(relay: ScriptedServer) -> None:
    """The body of an accepted mail with a secret is gone from the row; that of another one is not."""
    secret, plain = enqueue(mail(), sensitive=True), enqueue(mail())
    run_batch()
    secret.refresh_from_db()
    plain.refresh_from_db()
    assert (secret.state, secret.content) == ("accepted", None)
    assert plain.content


def test_a_dead_code_is_not_sent(relay: ScriptedServer) -> None:
    """A mail whose time is over is not claimed, and the sweep ends it."""
    row = enqueue(mail(), expires_at=timezone.now() + timedelta(hours=1))
    OutboxMessage.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert run_batch().claimed == 0
    assert run_one(row.pk) is None
    assert sweep().expired == 1
    assert the_row().state == "expired"
    assert relay.accepted == []


def test_not_before_its_time(relay: ScriptedServer) -> None:
    """A mail with ``send_after`` waits for it."""
    enqueue(mail(), send_after=timezone.now() + timedelta(hours=1))
    assert run_batch().claimed == 0
    make_due()
    assert run_batch().claimed == 1


def test_the_first_lane_goes_first(relay: ScriptedServer) -> None:
    """A password reset does not wait behind a newsletter."""
    for subject, priority in (("low", Priority.LOW), ("normal", Priority.NORMAL), ("high", Priority.HIGH)):
        enqueue(mail(subject=subject), priority=priority)
    for _ in range(3):
        run_batch(1)
    assert [each.data.split(b"Subject: ")[1].split(b"\r\n")[0] for each in relay.accepted] == [
        b"high",
        b"normal",
        b"low",
    ]


@pytest.mark.parametrize(
    "damage",
    [
        {"content": b"Subject: bare\nline\r\n\r\n"},
        {"content": None},
        {"reverse_path": "no address"},
    ],
    ids=["octets", "no-body", "address"],
)
def test_a_malformed_row_stops_nothing(relay: ScriptedServer, damage: dict[str, Any]) -> None:
    """A row that cannot be submitted is dead, with the reason; those before and behind it arrive."""
    rows = [enqueue(mail(f"user{number}@example.net")) for number in range(5)]
    OutboxMessage.objects.filter(pk=rows[2].pk).update(**damage)
    run_batch()
    rows[2].refresh_from_db()
    assert rows[2].state == "dead"
    assert rows[2].reason.startswith("it cannot be submitted")
    assert sorted(each.forward_paths[0] for each in relay.accepted) == [f"user{n}@example.net" for n in (0, 1, 3, 4)]


def test_a_relay_that_is_down_costs_no_retry_and_lets_go_at_once(
    relay: ScriptedServer, settings: Settings, smtp_faults: Callable[..., ScriptedServer]
) -> None:
    """Mail waits for a relay that is down; the first accepted one after its return lets all others go at once."""
    down = smtp_faults(Fault(At.GREETING, Close()))
    settings.EMAIL_PORT = down.port
    for number in range(6):
        enqueue(mail(f"user{number}@example.net"))
    run_batch(2)
    assert OutboxRelay.objects.get().trouble == "down"
    assert run_batch(2).claimed == 0
    assert set(OutboxMessage.objects.values_list("state", "waits_for_relay", "retries")) == {("queued", True, 0)}
    settings.EMAIL_PORT = relay.port
    make_due(OutboxMessage.objects.earliest("pk"))
    assert run_batch(2).claimed == 1
    assert not OutboxRelay.objects.exists()
    assert run_batch().claimed == 5
    assert len(relay.accepted) == 6


@pytest.mark.parametrize("how", ["to go later", "queued again"])
def test_patience_begins_when_a_mail_is_to_go(
    relay: ScriptedServer, settings: Settings, smtp_faults: Callable[..., ScriptedServer], how: str
) -> None:
    """A newsletter of last week, or a mail queued again, meets a relay that is down with all its patience."""
    settings.EMAIL_PORT = smtp_faults(Fault(At.GREETING, Close())).port
    settings.EMAIL_OUTBOX_RETRY_SCHEDULE = []
    row = enqueue(mail())
    last_week = timezone.now() - timedelta(days=7)
    if how == "to go later":
        an_hour_ago = timezone.now() - timedelta(hours=1)
        OutboxMessage.objects.update(created_at=last_week, send_after=an_hour_ago, next_attempt_at=an_hour_ago)
    else:
        OutboxMessage.objects.update(created_at=last_week)
        run_batch()
        assert the_row().state == "dead"
        operating.requeue(row.pk)
        make_due()
    run_batch()
    assert (the_row().state, the_row().waits_for_relay, the_row().retries) == ("queued", True, 0)


def test_a_refused_password_stops_the_relay_and_no_mail_is_lost(
    relay: ScriptedServer, settings: Settings, smtp_faults: Callable[..., ScriptedServer]
) -> None:
    """With wrong credentials mail waits without using up retries, status shows it, and a person lets it go."""
    server = smtp_faults(accounts={"user": "right"})
    settings.EMAIL_PORT, settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = server.port, "user", "wrong"
    row = enqueue(mail())
    run_batch()
    assert OutboxRelay.objects.get().trouble == "misconfigured"
    row.refresh_from_db()
    assert (row.state, row.retries, row.waits_for_relay) == ("queued", 0, True)
    assert "535" in row.reason
    assert any("refuses our configuration" in finding for finding in selectors.health().findings)
    settings.EMAIL_HOST_PASSWORD = "right"
    assert operating.resume_all_relays() == ["default"]
    run_batch()
    assert len(server.accepted) == 1
    assert selectors.health().findings == []


def test_a_stale_token_changes_nothing(relay: ScriptedServer) -> None:
    """A worker whose lease went to another one writes nothing: not to the relay, not into the row."""
    row = enqueue(mail())
    first = claims.claim(10)
    OutboxMessage.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert sweep().requeued == 1
    second = claims.claim(10)
    with pytest.raises(claims.LeaseLost):
        claims.mark_data_started(first.token, [row.pk], timezone.now(), database())
    assert claims.release(first.token, [row.pk]) == 0
    assert claims.extend_lease(first.token) == 0
    row.refresh_from_db()
    assert (row.state, row.lease_token) == ("claimed", second.token)


@pytest.mark.parametrize(("policy", "state"), [("resend", "queued"), ("hold", "in-doubt")])
def test_a_worker_that_died_after_the_mark_leaves_a_doubt(relay: ScriptedServer, policy: Any, state: str) -> None:  # noqa: ANN401 - a Literal
    """An expired lease after DATA_STARTED is a doubt, by the mail's policy; its attempt is in the record."""
    row = enqueue(mail(), in_doubt=policy)
    claim = claims.claim(10)
    claims.mark_data_started(claim.token, [row.pk], timezone.now(), database())
    OutboxMessage.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    sweep()
    row.refresh_from_db()
    assert (row.state, row.doubts) == (state, 1)
    assert SubmissionAttempt.objects.get().disposition == "in-doubt"
    assert standings() == {ANN: "in-doubt"}


def test_a_mail_that_kills_its_workers_is_given_up(relay: ScriptedServer, settings: Settings) -> None:
    """After so many lost leases a mail is dead and visible, and is not claimed any more."""
    settings.EMAIL_OUTBOX_MAX_LOST_LEASES = 3
    enqueue(mail())
    for _ in range(3):
        assert claims.claim(1).rows
        OutboxMessage.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        sweep()
    assert the_row().state == "dead"
    assert not claims.claim(1).rows


def test_cancelled_mail_does_not_go(relay: ScriptedServer) -> None:
    """A waiting mail can be withdrawn; one that a worker has cannot."""
    first, second = enqueue(mail()), enqueue(mail())
    operating.cancel(first.pk)
    claims.claim(10)
    with pytest.raises(operating.NotPossible):
        operating.cancel(second.pk)
    first.refresh_from_db()
    assert first.state == "cancelled"


def test_old_mail_is_purged(relay: ScriptedServer) -> None:
    """What has ended long ago is removed with its attempts; what is recent, or waits, stays."""
    old, recent = enqueue(mail()), enqueue(mail())
    run_batch()
    enqueue(mail())
    OutboxMessage.objects.filter(pk=old.pk).update(finished_at=timezone.now() - timedelta(days=31))
    assert purge()["accepted"] == 1  # type: ignore[index]  # State is a str
    assert set(OutboxMessage.objects.values_list("pk", flat=True)) > {recent.pk}
    assert not OutboxRecipient.objects.filter(message_id=old.pk).exists()
    assert OutboxMessage.objects.count() == 2


def test_large_bodies_live_in_a_storage(relay: ScriptedServer, settings: Settings, tmp_path: Any) -> None:  # noqa: ANN401 - a Path
    """From the threshold on the octets are in a file, arrive the same, and go with the end of a sensitive mail."""
    settings.STORAGES = {
        "mail": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}}
    }
    settings.EMAIL_OUTBOX_STORAGE, settings.EMAIL_OUTBOX_STORAGE_THRESHOLD = "mail", 1_000
    message = mail()
    message.attach("big.bin", bytes(5_000), "application/octet-stream")
    row = enqueue(message, sensitive=True)
    [file] = list(tmp_path.rglob("*.eml"))
    octets = file.read_bytes()
    assert row.content is None
    run_batch()
    assert [each.data for each in relay.accepted] == [octets]
    assert not file.exists()


def test_a_drain_inside_a_transaction_is_refused(relay: ScriptedServer) -> None:
    """Handing over inside a transaction would forget what was accepted if it is rolled back: an error."""
    enqueue(mail())
    with pytest.raises(RuntimeError), transaction.atomic(using=database()):
        run_batch()
    assert relay.accepted == []


@pytest.mark.parametrize("outbox_url", ["postgres", "mariadb"], indirect=True)
@pytest.mark.parametrize("moved", [timedelta(hours=1), -timedelta(hours=1)], ids=["ahead", "behind"])
def test_a_moved_clock_takes_no_mail_from_others(
    outbox_url: str, relay: ScriptedServer, monkeypatch: pytest.MonkeyPatch, moved: timedelta
) -> None:
    """A host whose clock is wrong by an hour neither takes other workers' mails nor keeps its own for ever."""
    right = timezone.now
    enqueue(mail())
    claim = claims.claim(1)
    monkeypatch.setattr(timezone, "now", lambda: right() + moved)
    assert sweep().total == 0
    assert claims.extend_lease(claim.token) == 1
    assert abs((the_row().lease_until - right()).total_seconds() - 120) < 10  # type: ignore[operator]  # it is held
    enqueue(mail())
    assert run_batch().claimed == 1
    assert selectors.health().overdue == 0
