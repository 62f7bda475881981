"""A project with django-post_office, django-mailer and the outbox: ``python importing_world.py FOLDER PORT SOURCE``.

Fills the queue of one of them, runs ``outbox_import`` three times (dry, moving, again), drains the outbox to a relay on
the port, and prints what each step said and left behind, as JSON.
"""

from __future__ import annotations

import io
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.mail import EmailMultiAlternatives
from django.core.management import CommandError, call_command
from django.utils import timezone


def configure(folder: Path, port: int) -> None:
    """Set the project up, with empty tables."""
    settings.configure(
        SECRET_KEY="only for tests",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3")}},
        INSTALLED_APPS=["django.contrib.contenttypes", "robust_email.outbox", "post_office", "mailer"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        MEDIA_ROOT=str(folder / "media"),
        EMAIL_BACKEND="robust_email.outbox.backend.OutboxEmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
    )
    django.setup()
    call_command("migrate", verbosity=0)


def fill_post_office() -> None:
    """Queue mails of every kind, and one that is sent already."""
    from post_office import mail
    from post_office.models import STATUS, Email, EmailTemplate

    EmailTemplate.objects.create(name="order", subject="Order {{ number }}", content="Thanks, {{ name }}")
    common = {"sender": "Shop <shop@example.org>"}
    mail.send(["ann@example.net"], subject="plain", message="there", priority="low", **common)
    mail.send(
        ["ann@example.net"], template="order", context={"number": 7, "name": "Ann"}, render_on_delivery=True, **common
    )
    attached = {"prices.txt": ContentFile(b"one\ntwo\n")}
    mail.send(
        ["bob@example.net"],
        cc=["cat@example.net"],
        bcc=["dan@example.net"],
        subject="rich",
        message="text",
        html_message="<p>html</p>",
        attachments=attached,
        headers={"X-Shop": "1"},
        priority="high",
        **common,
    )
    later = timezone.now() + timedelta(hours=2)
    mail.send(["eve@example.net"], subject="later", message="x", scheduled_time=later, **common)
    mail.send(["ann@example.net"], subject="other relay", message="x", backend="default", **common)
    Email.objects.filter(subject="other relay").update(backend_alias="marketing")
    mail.send(["ann@example.net"], subject="sent", message="x", **common)
    Email.objects.filter(subject="sent").update(status=STATUS.sent)
    mail.send(["ann@example.net"], subject="expired", message="x", **common)
    Email.objects.filter(subject="expired").update(expires_at=timezone.now() - timedelta(hours=1))
    mail.send(["ann@example.net"], subject="bad", message="x", **common)
    Email.objects.filter(subject="bad").update(from_email="shop@example.org\nBcc: all@example.net")


def fill_django_mailer() -> None:
    """Queue mails of every kind, deferred and broken ones among them."""
    from mailer.models import Message

    def queue(subject: str, to: str, priority: int, **fields: Any) -> None:  # noqa: ANN401 - EmailMessage's
        message = EmailMultiAlternatives(subject, "text", "shop@example.org", [to], **fields)
        message.attach_alternative("<p>html</p>", "text/html")
        row = Message(priority=priority)
        row.email = message
        row.save()

    queue("medium", "ann@example.net", 2, bcc=["dan@example.net"], headers={"X-Shop": "1"})
    queue("urgent", "bob@example.net", 1)
    queue("deferred", "cat@example.net", 4)
    Message.objects.create(message_data="no pickle", priority=2)


def left_over(source: str) -> dict[str, Any]:
    """Give what the other package would still submit, and what it says of the rest."""
    if source == "post_office":
        from post_office.models import STATUS, Email, Log

        waiting = Email.objects.filter(status__in=[STATUS.queued, STATUS.requeued])
        return {
            "waiting": sorted(waiting.values_list("subject", flat=True)),
            "logs": list(Log.objects.values_list("message", flat=True)),
        }
    from mailer.models import Message, MessageLog

    return {"waiting": Message.objects.count(), "logs": list(MessageLog.objects.values_list("log_message", flat=True))}


def run(source: str, *options: str) -> dict[str, Any]:
    """Run the command; give what it said."""
    out, err, failed = io.StringIO(), io.StringIO(), ""
    try:
        call_command("outbox_import", "--from", source, *options, stdout=out, stderr=err)
    except CommandError as exc:
        failed = str(exc)
    from robust_email.outbox.models import OutboxMessage

    rows = OutboxMessage.objects.order_by("pk")
    said = {"out": out.getvalue(), "err": err.getvalue(), "failed": failed, "rows": rows.count()}
    return said | left_over(source)


def main(folder: str, port: str, source: str) -> None:
    """Do all of it."""
    configure(Path(folder), int(port))
    fill_post_office() if source == "post_office" else fill_django_mailer()
    steps = {"dry": run(source), "moved": run(source, "--move", "--kind", "moved"), "again": run(source, "--move")}
    from robust_email.outbox.dispatch import run_batch
    from robust_email.outbox.models import OutboxMessage

    run_batch()
    rows = OutboxMessage.objects.order_by("pk").values("priority", "kind", "state", "dedupe_key", "send_after")
    sys.stdout.write(json.dumps({**steps, "outbox": list(rows)}, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
