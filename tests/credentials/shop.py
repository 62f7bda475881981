"""A process of a shop: ``python -m tests.credentials.shop JSON``. Submits mails by the settings it is given.

Several threads hand over one mail after the other through Django, until told to stop. Then it prints, as one JSON
object, what became of each mail: "accepted", or the error.
"""

from __future__ import annotations

import json
import sys
import threading

from django.conf import settings
from django.core.mail import EmailMessage

STOP = threading.Event()


def submit_until_told(name: str, results: dict[str, str]) -> None:
    """Hand over mails with their number in the Message-ID."""
    number = 0
    while not STOP.is_set():
        number += 1
        mail = f"<{name}-{number}@example.org>"
        message = EmailMessage("hi", "hello", "shop@example.org", ["ann@example.org"], headers={"Message-ID": mail})
        try:
            results[mail] = "accepted" if message.send() == 1 else "nothing"
        except Exception as exc:  # noqa: BLE001 - the test is told, and a process that goes on shows a storm
            results[mail] = f"{type(exc).__name__}: {exc}"


def main() -> None:
    """Begin and end when told."""
    task = json.loads(sys.argv[1])
    settings.configure(
        SECRET_KEY="the project's", EMAIL_BACKEND="robust_email.backend.RobustSMTPEmailBackend", **task["settings"]
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    results: dict[str, str] = {}
    threads = [
        threading.Thread(target=submit_until_told, args=(f"{task['name']}-{number}", results))
        for number in range(task["threads"])
    ]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    STOP.set()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
