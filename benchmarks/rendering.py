"""CPU time to make octets of an ``EmailMessage``: Django's own way and ours, on the Django that runs this.

    python benchmarks/rendering.py [--rounds 7] [--json rendering.json]

Each round measures both in turn, in process CPU time, on new messages; the ratio is that of the medians. Subjects and
recipients differ from message to message, as they do in transactional mail, so that only what truly repeats comes from
a cache. Written is one JSON object: ``{"django": ..., "python": ..., "rounds": n, "kinds": {kind: {"django_us": ...,
"ours_us": ..., "checked_us": ..., "ratio": ...}}}``; times are microseconds of CPU per message. ``ours`` is
``rendering.render()``, the same octets as Django's; ``checked`` is ``messages.to_submission()``, which makes the
envelope as well and checks headers, line ends and line lengths, none of which Django's figure holds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import random
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import django
from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.mail import EmailMessage

ATTACHMENT = random.Random(4711).randbytes(1 << 20)  # noqa: S311 - data, not a secret
LINE = "A line of text such as an order confirmation has.\n"
ROW = "<tr><td>Article</td><td>1 piece</td><td>12.00 EUR</td></tr>\n"


def small(number: int) -> EmailMessage:
    """1.2 KB of text."""
    from django.core.mail import EmailMessage

    subject, to = f"Your order {number} has been received", [f"customer{number}@example.org"]
    return EmailMessage(subject, LINE * 15, "Shop <shop@example.com>", to)


def small_non_ascii(number: int) -> EmailMessage:
    """1.2 KB of text beyond ASCII, in the subject and the names too."""
    from django.core.mail import EmailMessage

    subject, to = f"Grüße: Bestellung {number} ist da", [f"Ünal Größe <customer{number}@example.org>"]
    return EmailMessage(subject, f"Größe €: {LINE}" * 15, "Bücher <shop@example.com>", to)


def html(number: int) -> EmailMessage:
    """2 KB of text with 15 KB of HTML."""
    from django.core.mail import EmailMultiAlternatives

    subject, to = f"Your order {number} has been received", [f"customer{number}@example.org"]
    message = EmailMultiAlternatives(subject, LINE * 40, "Shop <shop@example.com>", to)
    message.attach_alternative(f"<table>\n{ROW * 250}</table>\n", "text/html")
    return message


def attachment(number: int) -> EmailMessage:
    """1 MB as base64."""
    message = small(number)
    message.attach("invoice.pdf", ATTACHMENT, "application/pdf")
    return message


KINDS: dict[str, tuple[Callable[[int], EmailMessage], int]] = {
    "small": (small, 100),
    "small_non_ascii": (small_non_ascii, 100),
    "html_17k": (html, 40),
    "attachment_1m": (attachment, 5),
}


def stock(message: EmailMessage) -> bytes:
    """Do what the running Django's ``EmailBackend._send()`` does."""
    from robust_email import _compat

    if _compat.MODERN_EMAIL_API:
        import email.policy

        return message.message(policy=email.policy.SMTP).as_bytes()
    as_bytes: Callable[..., bytes] = message.message().as_bytes
    return as_bytes(linesep="\r\n")


def cpu_us(render: Callable[[EmailMessage], object], messages: list[EmailMessage]) -> float:
    """Return microseconds of CPU per message."""
    started = time.process_time()
    for message in messages:
        render(message)
    return (time.process_time() - started) / len(messages) * 1e6


def measure(build: Callable[[int], EmailMessage], count: int, rounds: int) -> dict[str, float]:
    """Measure one kind of message, the contestants in turn."""
    from robust_email.messages import to_submission
    from robust_email.rendering import render

    contestants: dict[str, Callable[[EmailMessage], object]] = {
        "django_us": stock,
        "ours_us": render,
        "checked_us": to_submission,
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    numbers = itertools.count()  # no message is rendered twice: a cache may hold no more of it than it would in life
    for _ in range(rounds + 1):  # the first fills caches and is not counted
        for name, contestant in contestants.items():
            messages = [build(next(numbers)) for _ in range(count)]
            times[name].append(cpu_us(contestant, messages))
    medians = {name: round(statistics.median(values[1:]), 1) for name, values in times.items()}
    return medians | {"ratio": round(medians["ours_us"] / medians["django_us"], 3)}


def main() -> None:
    """Measure every kind and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settings.configure(DEFAULT_FROM_EMAIL="shop@example.com")
    django.setup()
    kinds = {name: measure(build, count, options.rounds) for name, (build, count) in KINDS.items()}
    result = {
        "django": django.get_version(),
        "python": platform.python_version(),
        "rounds": options.rounds,
        "kinds": kinds,
    }
    text = json.dumps(result, indent=2)
    if options.json:
        options.json.write_text(f"{text}\n")
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
