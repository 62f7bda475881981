"""The dashboard, what it lets an operator do to a relay, and the doctor. ``admin`` has asked for the permission."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.template.response import TemplateResponse
from django.utils import timezone

from robust_email.diagnosis import NothingToExamine, known_aliases, plan_for
from robust_email.doctor import DoctorReport, examine
from robust_email.outbox.dashboard import figures
from robust_email.outbox.dashboard.charts import charts_of
from robust_email.outbox.services import operating
from robust_email.outbox.states import State

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from robust_email.outbox.selectors import Health

MOST_RECIPIENTS: Final = 200
"""Of one mail that are shown."""
PATIENCE: Final = 5.0
"""Seconds for each step of the doctor, since a browser waits."""
SHORT_PAUSE: Final = timedelta(hours=1)


def dashboard(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show how things stand."""
    found = figures.overview()
    charts = charts_of("day", "24 hours", found.day) + charts_of("month", "30 days", found.month)
    shown = {
        "title": "Dashboard",
        "verdict": _verdict(found.health),
        "found": found,
        "health": found.health,
        "in_doubt": found.health.ended[State.IN_DOUBT],
        "dead": found.health.ended[State.DEAD],
        "charts": charts,
        "now": timezone.now(),
    }
    return TemplateResponse(request, "robust_email_outbox/dashboard.html", {**context, **shown})


def _verdict(health: Health) -> tuple[str, str]:
    """Return the severity and the words for the whole: a problem, something that waits for a person, or nothing."""
    if health.problems:
        return "error", "Somebody should look at this now"
    troubled = [relay.name for relay in health.relays if relay.trouble]
    if troubled:
        return "warning", f"{len(troubled)} relay{'s' if len(troubled) > 1 else ''} not in service"
    if health.ended[State.IN_DOUBT] or health.ended[State.DEAD]:
        return "warning", "Some mail waits for a person"
    return "ok", "All is well"


def act_on_relay(deed: str, name: str, by: str) -> str | None:
    """Do it and say so in words; None if there is no such thing to do."""
    if deed == "wake":
        operating.wake_workers()
        return "The workers were told that mail waits; those that poll look by themselves."
    if not name:
        return None
    if deed == "resume":
        waits = operating.resume_relay(name)
        return f"Relay {name} is asked again, and its mail goes." if waits else f"Relay {name} was not held back."
    if deed == "pause":
        operating.pause_relay(name, reason=f"paused by {by}")
        return f"Relay {name} is paused until somebody resumes it."
    if deed == "pause-for-an-hour":
        operating.pause_relay(name, until=timezone.now() + SHORT_PAUSE, reason=f"paused by {by} for an hour")
        return f"Relay {name} is paused for an hour."
    return None


def doctor(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Ask for which mailer; on a POST, examine it from this process."""
    aliases = known_aliases()
    chosen = request.POST.get("alias", aliases[0])
    report = None
    if request.method == "POST" and chosen in aliases:
        report = _examined(chosen, quick="thorough" not in request.POST)
    return TemplateResponse(
        request,
        "robust_email_outbox/doctor.html",
        {**context, "title": "Doctor", "aliases": aliases, "chosen": chosen, "report": report, "media": ""},
    )


def _examined(alias: str, *, quick: bool) -> DoctorReport:
    try:
        return examine(plan_for(alias, timeout=PATIENCE, quick=quick))
    except NothingToExamine as exc:
        return exc.report
