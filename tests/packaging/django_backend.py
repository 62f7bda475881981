"""Run by `nox -s wheel` where the wheel and Django are installed, without Celery: `send_mail` hands a mail over."""

from __future__ import annotations

from importlib.util import find_spec

import django
from django.conf import settings
from django.core.mail import send_mail

from robust_email.testing import ScriptedServer


def main() -> None:
    """Send one mail through the backend to a scripted server and look into the server's ledger."""
    assert find_spec("celery") is None, "celery is installed: this check would prove nothing"
    with ScriptedServer() as server:
        settings.configure(
            EMAIL_BACKEND="robust_email.backend.RobustSMTPEmailBackend",
            EMAIL_HOST=server.host,
            EMAIL_PORT=server.port,
            INSTALLED_APPS=["robust_email"],
            USE_TZ=True,
        )
        django.setup()
        count = send_mail("From the wheel", "Hello.", "shop@shop.example", ["customer@shop.example"])
        accepted = list(server.accepted)
    assert count == 1
    assert [message.forward_paths for message in accepted] == [("customer@shop.example",)]
    print(f"robust_email.backend handed a mail over with Django {django.__version__}")


if __name__ == "__main__":
    main()
