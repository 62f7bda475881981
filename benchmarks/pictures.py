"""The pictures of the benchmark page, SVG and PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

Row = dict[str, Any]
LABELS = {
    "OursBulk": "robust-email, window 8",
    "Ours": "robust-email",
    "OursDjango": "robust-email through Django",
    "Nodemailer": "Nodemailer pool",
    "SmtpSource": "smtp-source (C)",
    "Aiosmtplib": "aiosmtplib, warm",
    "WarmSmtplib": "smtplib, warm",
    "StockDjangoOpen": "Django, kept open",
    "StockDjango": "Django, send_mail()",
}
OUR_COLOUR, THEIR_COLOUR = "#0b6e4f", "#9aa5b1"
SAME_HEIGHT = 0.2
"""Round trips per mail."""


def draw(result: Row, folder: Path) -> None:
    """Whatever the rows allow."""
    plt.rcParams.update({"font.size": 11, "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False})
    for secure in (False, True):
        rows = [row for row in result["rows"] if _in_cell(row, secure=secure)]
        if rows:
            _bars(rows, secure=secure, folder=folder)
    if any(row["cell"]["rtt"] not in (0, 50) for row in result["rows"]):
        _over_rtt(result, folder)
    _threads(result, folder)


def _in_cell(row: Row, *, secure: bool) -> bool:
    cell = row["cell"]
    return bool(cell["server"] == "sink" and cell["rtt"] == 50 and cell["secure"] is secure and row["peer"] in LABELS)


def _bars(rows: list[Row], *, secure: bool, folder: Path) -> None:
    rows = sorted(rows, key=lambda row: float(row["mails_per_second"]))
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(rows) + 1.3))
    values = [row["mails_per_second"] for row in rows]
    colours = [OUR_COLOUR if row["peer"].startswith("Ours") else THEIR_COLOUR for row in rows]
    bars = axes.barh([LABELS[row["peer"]] for row in rows], values, color=colours)
    axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=4)
    axes.set_xscale("log")
    axes.set_xlim(1, max(values) * 2.5)
    channel = "STARTTLS and AUTH" if secure else "plain"
    axes.set_xlabel("mails per second (log scale), one session, 1.2 KB, round trip 50 ms")
    axes.set_title(f"One session over a 50 ms line, {channel}", loc="left", fontweight="bold")
    _save(figure, folder / ("session-tls" if secure else "session-plain"))


def _over_rtt(result: Row, folder: Path) -> None:
    figure, axes = plt.subplots(figsize=(9, 5))
    ends: dict[tuple[float, float], list[str]] = {}
    for peer, label in LABELS.items():
        points = sorted(
            (row["cell"]["rtt"], row["round_trips_per_mail"])
            for row in result["rows"]
            if row["peer"] == peer
            and row["cell"]["title"].startswith("sink")
            and row["cell"]["rtt"] > 0
            and not row["cell"]["secure"]
            and row["cell"]["octets"] < 2000
        )
        if points:
            _line(axes, points, ours=peer.startswith("Ours"))
            # Lines that end at the same height share a label.
            near = (end for end in ends if abs(end[1] - points[-1][1]) < SAME_HEIGHT)
            ends.setdefault(next(near, points[-1]), []).append(label)
    for end, labels in ends.items():
        text = "\n".join(labels)
        axes.annotate(text, end, xytext=(8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xlim(right=1.4 * max(x for x, _ in ends))
    axes.set_xticks(sorted({row["cell"]["rtt"] for row in result["rows"] if row["cell"]["rtt"]}))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("round trip, ms")
    axes.set_ylabel("round trips per mail")
    axes.set_title("What a mail costs, in round trips", loc="left", fontweight="bold")
    _save(figure, folder / "round-trips")


def _line(axes: Axes, points: list[tuple[float, float]], *, ours: bool) -> None:
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, marker="o", color=OUR_COLOUR if ours else THEIR_COLOUR, linewidth=2.2 if ours else 1.4)


def _threads(result: Row, folder: Path) -> None:
    counts = [row["threads"] for row in result["threads"]]
    rates = [row["mails_per_second"] for row in result["threads"]]
    figure, axes = plt.subplots(figsize=(7, 4.5))
    axes.plot(counts, [rates[0] / counts[0] * count for count in counts], "--", color=THEIR_COLOUR, label="linear")
    axes.plot(counts, rates, marker="o", color=OUR_COLOUR, linewidth=2.2, label="measured")
    axes.set_xlabel("threads sharing one client, a session each")
    axes.set_ylabel("mails per second")
    axes.legend(frameon=False)
    axes.set_title("Threads, round trip 50 ms", loc="left", fontweight="bold")
    _save(figure, folder / "threads")


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=120)
    plt.close(figure)
