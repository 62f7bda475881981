"""Figures as ``dashboard.js`` draws them, and the one line that says the same to those who don't see the chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from robust_email.smtp import Disposition

if TYPE_CHECKING:
    from robust_email.outbox.dashboard.figures import Series

NOT_ACCEPTED: Final = (Disposition.DEFERRED, Disposition.REFUSED, Disposition.IN_DOUBT)


@dataclass(frozen=True, slots=True)
class Chart:
    """``data`` is what goes into the page as JSON; ``name`` is the element's id."""

    name: str
    title: str
    data: dict[str, Any]
    summary: str
    total: int


def charts_of(name: str, title: str, series: Series) -> list[Chart]:
    """Return two: a failure in a hundred would not be seen beside what was accepted."""
    return [
        _chart(f"{name}-accepted", f"Accepted, {title}", series, (Disposition.ACCEPTED,)),
        _chart(f"{name}-not-accepted", f"Not accepted, {title}", series, NOT_ACCEPTED),
    ]


def _chart(name: str, title: str, series: Series, dispositions: tuple[Disposition, ...]) -> Chart:
    totals = {each.value: sum(series.counts[each.value]) for each in dispositions}
    most = max((sum(point) for point in zip(*(series.counts[each] for each in totals), strict=True)), default=0)
    words = ", ".join(f"{total} {disposition}" for disposition, total in totals.items())
    data = {
        "step": series.step,
        "times": series.times,
        "series": [{"name": each, "counts": series.counts[each]} for each in totals],
    }
    return Chart(name, title, data, f"{words}; at most {most} in {_span(series.step)}", sum(totals.values()))


def _span(seconds: int) -> str:
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} hours" if hours else f"{minutes} minutes"
