"""The admin's pages: who sees what, who may do what, and that it is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from robust_email.outbox import admin
from robust_email.outbox.models import OutboxMessage, OutboxRelay
from robust_email.outbox.states import State
from tests.outbox.admin.conftest import DASHBOARD, EVERYTHING, list_url, mail_url, make_attempt, make_mail, new_user

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

    from robust_email.testing import ScriptedServer
    from tests.outbox.admin.conftest import LogIn

pytestmark = pytest.mark.django_db

ADDRESS = "ann.smith@example.net"
PAGES = {
    "list": ("view_outboxmessage", list_url()),
    "mail": ("view_outboxmessage", mail_url(UUID(int=7))),
    "dashboard": ("view_outboxrelay", DASHBOARD),
    "doctor": ("operate", DASHBOARD + "doctor/"),
}


@pytest.fixture
def relay_of_project(settings: Settings, smtp_server: ScriptedServer) -> ScriptedServer:
    """Give the server that the project's mail goes to, through the outbox."""
    settings.EMAIL_BACKEND = "robust_email.outbox.backend.OutboxEmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = smtp_server.host, smtp_server.port
    return smtp_server


def recorded() -> list[str]:
    """Return what the audit log says."""
    return list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_needs_its_permission(page: str, log_in: LogIn) -> None:
    """A member of staff sees a page with its permission, and is refused with all the others."""
    permission, url = PAGES[page]
    make_mail(pk=UUID(int=7))
    assert log_in(permission).get(url).status_code == 200
    others = [each for each in EVERYTHING if each != permission]
    assert log_in(*others).get(url).status_code == 403


def test_strangers_are_sent_to_the_log_in(client: Client) -> None:
    """Without a session no page answers."""
    for url in (list_url(), DASHBOARD, DASHBOARD + "doctor/"):
        assert client.get(url)["Location"].startswith("/admin/login/")
    assert client.post(DASHBOARD + "relay/", {"deed": "wake"})["Location"].startswith("/admin/login/")


def test_addresses_are_masked_until_allowed(log_in: LogIn) -> None:
    """List and mail show masked addresses; the mail shows them in full to whom they are allowed."""
    row = make_mail(to=[ADDRESS, "bob@example.net"], reverse_path="orders@shop.example")
    few, more = log_in("view_outboxmessage"), log_in("view_outboxmessage", "view_address")
    for url in (list_url(), list_url(f"?q={ADDRESS}"), mail_url(row.pk)):
        text = few.get(url).content.decode().replace(f'value="{ADDRESS}"', "")
        assert ADDRESS not in text
        assert "a***@e***.net" in text
    assert ADDRESS in more.get(mail_url(row.pk)).content.decode()


def test_a_body_needs_a_permission_of_its_own_and_is_recorded(log_in: LogIn) -> None:
    """Only a POST with ``view_body`` shows the octets, and the log says who read them."""
    row = make_mail()
    url = mail_url(row.pk, "body")
    assert log_in(*[each for each in EVERYTHING if each != "view_body"]).post(url).status_code == 403
    reader = log_in("view_outboxmessage", "view_body")
    assert reader.get(url).status_code == 405
    assert recorded() == []
    page = reader.post(url)
    assert "The secret body" in page.content.decode()
    assert "Grüße" in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    download = reader.post(url, {"download": ""})
    assert download.content == bytes(row.content or b"")
    assert recorded() == ["Read the body", "Downloaded the body"]
    assert "The secret body" not in reader.get(mail_url(row.pk)).content.decode()


def test_a_removed_body_is_not_there(operator: Client) -> None:
    """A scrubbed mail offers no body, and asking for it is answered with 404."""
    row = make_mail(State.ACCEPTED, content=None)
    assert "Read the body" not in operator.get(mail_url(row.pk)).content.decode()
    assert operator.post(mail_url(row.pk, "body")).status_code == 404


@pytest.mark.parametrize(
    ("deed", "before", "after"),
    [
        ("resend", State.DEAD, State.QUEUED),
        ("resend", State.REFUSED, State.QUEUED),
        ("cancel", State.QUEUED, State.CANCELLED),
        ("resolve-accepted", State.IN_DOUBT, State.ACCEPTED),
        ("resolve-resend", State.IN_DOUBT, State.QUEUED),
    ],
)
def test_a_deed_changes_the_row_and_is_recorded(
    deed: str, before: State, after: State, log_in: LogIn, relay_of_project: ScriptedServer
) -> None:
    """Each deed changes the state, for an operator alone, and speaks to no relay."""
    row = make_mail(before)
    row.recipients.update(standing="in-doubt" if before is State.IN_DOUBT else "pending")
    url = mail_url(row.pk, "act")
    assert log_in("view_outboxmessage").post(url, {"deed": deed}).status_code == 403
    row.refresh_from_db()
    assert row.state == before
    assert log_in("view_outboxmessage", "operate").post(url, {"deed": deed}).status_code == 302
    row.refresh_from_db()
    assert row.state == after
    [entry] = LogEntry.objects.all()
    assert entry.object_id == str(row.pk)
    assert "@example.com" not in row.reason
    assert relay_of_project.connections == 0


def test_an_impossible_deed_changes_nothing(operator: Client) -> None:
    """A mail that is accepted can't be cancelled: nothing changes, nothing is recorded, and the page says why."""
    row = make_mail(State.ACCEPTED)
    page = operator.post(mail_url(row.pk, "act"), {"deed": "cancel"}, follow=True).content.decode()
    assert "cannot be cancelled" in page
    row.refresh_from_db()
    assert (row.state, recorded()) == (State.ACCEPTED, [])
    assert operator.post(mail_url(row.pk, "act"), {"deed": "drop"}).status_code == 403


def test_deeds_on_the_list(log_in: LogIn) -> None:
    """The list does the same to several mails, and offers it to operators alone."""
    rows = [make_mail(State.DEAD), make_mail(State.DEAD), make_mail(State.ACCEPTED)]
    asked = {"action": "resend", "_selected_action": [str(row.pk) for row in rows]}
    assert "Send again" not in log_in("view_outboxmessage").get(list_url()).content.decode()
    operator = log_in("view_outboxmessage", "operate")
    assert "Send again" in operator.get(list_url()).content.decode()
    page = operator.post(list_url(), asked, follow=True).content.decode()
    assert "Queued again: 2 mails." in page
    assert OutboxMessage.objects.filter(state=State.QUEUED).count() == 2
    assert recorded() == ["Queued again"] * 2


def test_nobody_adds_edits_or_deletes(client: Client) -> None:
    """Not even a superuser gets a form, or the action that deletes."""
    root = new_user("root", is_staff=True, is_superuser=True)
    root.save()
    client.force_login(root)
    row = make_mail()
    assert client.get(list_url("add/")).status_code == 403
    assert client.post(mail_url(row.pk), {"state": "accepted"}).status_code == 200
    row.refresh_from_db()
    assert row.state == State.QUEUED
    assert client.post(mail_url(row.pk, "delete"), {"post": "yes"}).status_code == 403
    assert "delete_selected" not in client.get(list_url()).content.decode()


def test_a_purged_mail_is_gone(operator: Client) -> None:
    """The page of a mail that is no more is a 404, and so is a key that is none."""
    row = make_mail()
    row.delete()
    assert operator.get(mail_url(row.pk)).status_code in {302, 404}
    assert operator.get(list_url("nonsense/change/")).status_code == 404


def test_the_timeline_tells_a_life(operator: Client) -> None:
    """One mail's page names its attempts with the relay's words, its recipients and what can be done."""
    row = make_mail(State.IN_DOUBT, reason="no answer")
    make_attempt(row, disposition="deferred", reply="451 4.7.1 try later", phase="rcpt")
    page = operator.get(mail_url(row.pk)).content.decode()
    for words in ("enqueued", "451 4.7.1 try later", "in-doubt", "The relay has it", "Send again, it has not"):
        assert words in page


def test_pausing_and_resuming_a_relay(
    operator: Client, log_in: LogIn, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """Pause notes it and resume ends it; both are recorded, and need ``operate``."""
    url = DASHBOARD + "relay/"
    assert log_in("view_outboxrelay").post(url, {"deed": "pause", "relay": "default"}).status_code == 403
    assert operator.post(url, {"deed": "pause", "relay": "default"}).status_code == 302
    assert OutboxRelay.objects.get().trouble == OutboxRelay.Trouble.PAUSED
    assert "paused" in operator.get(DASHBOARD).content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        operator.post(url, {"deed": "resume", "relay": "default"})
    assert not OutboxRelay.objects.exists()
    operator.post(url, {"deed": "pause-for-an-hour", "relay": "default"})
    assert len(recorded()) == 3
    assert operator.post(url, {"deed": "pause"}).status_code == 404
    assert operator.post(url, {"deed": "nonsense", "relay": "default"}).status_code == 404
    assert operator.get(url).status_code == 405


def test_waking_the_workers(
    operator: Client, settings: Settings, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """The button tells the workers that much waits, by the project's wake-up."""
    settings.EMAIL_OUTBOX_WAKEUP = f"{__name__}.Told"
    Told.backlogs = 0
    with django_capture_on_commit_callbacks(execute=True):
        operator.post(DASHBOARD + "relay/", {"deed": "wake"})
    assert Told.backlogs == 1


class Told:
    """A wake-up that counts."""

    bounded = True
    backlogs = 0

    def notify(self, pks: object) -> None:
        """Do nothing."""

    def notify_backlog(self) -> None:
        """Count."""
        Told.backlogs += 1


def test_the_doctor_examines_the_relay(operator: Client, settings: Settings, relay_of_project: ScriptedServer) -> None:
    """A GET asks which relay and looks at nothing; a POST examines it and shows each step."""
    operator.get(DASHBOARD + "doctor/")
    assert relay_of_project.connections == 0
    page = operator.post(DASHBOARD + "doctor/", {"alias": "default"}).content.decode()
    assert relay_of_project.connections > 0
    assert "Greeting" in page
    assert relay_of_project.accepted == []
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    assert "speaks to no server" in operator.post(DASHBOARD + "doctor/", {"alias": "default"}).content.decode()


@pytest.mark.parametrize(
    ("state", "trouble", "words"),
    [
        (State.ACCEPTED, None, "All is well"),
        (State.DEAD, None, "Some mail waits for a person"),
        (State.DEAD, "down", "1 relay not in service"),
        (State.DEAD, "misconfigured", "Somebody should look at this now"),
    ],
)
def test_the_verdict_on_the_whole(state: State, trouble: str | None, words: str, operator: Client) -> None:
    """The dashboard begins with the worst that is to be said."""
    make_mail(state)
    if trouble is not None:
        OutboxRelay.objects.create(name="default", trouble=trouble, since=timezone.now(), ask_again_at=timezone.now())
    assert words in operator.get(DASHBOARD).content.decode()


def test_an_action_ends_at_its_limit(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An action on all mails of a list changes so many and says that there are more."""
    monkeypatch.setattr(admin, "AT_ONCE", 2)
    rows = [make_mail(State.DEAD) for _ in range(3)]
    asked = {"action": "resend", "_selected_action": [str(row.pk) for row in rows]}
    assert "Only the first 2" in operator.post(list_url(), asked, follow=True).content.decode()
    assert OutboxMessage.objects.filter(state=State.DEAD).count() == 1
