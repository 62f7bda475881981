"""A project that submits mail from forked processes and is scraped in the end; arguments: host, port, children.

Prints what ``metrics_view`` answers. With ``PROMETHEUS_MULTIPROC_DIR`` in the environment the children's count too.
"""

from __future__ import annotations

import os
import sys

import django
from django.conf import settings
from django.core.mail import send_mail
from django.core.management import call_command


def submit(count: int) -> None:
    """Submit mails that the relay accepts, and one that it refuses."""
    for number in range(count):
        send_mail(f"mail {number}", "hi", "shop@example.org", ["ann@example.net"])
    send_mail("refused", "hi", "shop@example.org", ["nobody@example.net"], fail_silently=True)


def main(host: str, port: str, children: str) -> None:
    """Fork, submit, wait, scrape."""
    settings.configure(
        SECRET_KEY="only for tests",
        EMAIL_BACKEND="robust_email.backend.RobustSMTPEmailBackend",
        EMAIL_HOST=host,
        EMAIL_PORT=int(port),
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.contenttypes", "robust_email", "robust_email.outbox"],
    )
    django.setup()
    from django.test import RequestFactory

    from robust_email.observability.prometheus import install, metrics_view

    install()
    submit(1)
    for _ in range(int(children)):
        if os.fork() == 0:
            submit(2)
            os._exit(0)
    for _ in range(int(children)):
        os.wait()
    call_command("migrate", verbosity=0)
    sys.stdout.write(metrics_view(RequestFactory().get("/metrics")).content.decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
