"""From measured rows to what people read: claims judged, a JSON file, a Markdown page, pictures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks import outbox_report, peers, plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = ("Ours", "OursDjango", "OursBulk", "OursThreads", "OursBulk8")
Row = dict[str, Any]


def judge(result: Row) -> list[Row]:
    """Each claim with its figure; ``holds`` is ``None`` where it was not measured in this run."""
    engine = [*_ratios(result), *_round_trips(result), *_cold(result), *_rendering(result), *_linear(result)]
    return engine + [
        _claim(each.pop("claim"), each.pop("value"), **each) for each in outbox_report.judge(result["outbox"])
    ]


def _ratios(result: Row) -> Iterator[Row]:
    for claim in plan.CLAIMS:
        ours = _find(result, claim.ours, claim.server, claim.rtt, secure=claim.secure)
        other = _find(result, claim.other, claim.server, claim.rtt, secure=claim.secure)
        channel = "STARTTLS+AUTH" if claim.secure else "plain"
        text = f"{claim.ours} / {claim.other}, {claim.server}, RTT {claim.rtt:g}, {channel}"
        value = ours["mails_per_second"] / other["mails_per_second"] if ours and other else None
        yield _claim(text, value, at_least=claim.factor)


def _round_trips(result: Row) -> Iterator[Row]:
    for peer, server, rtt, most in plan.ROUND_TRIPS:
        row = _find(result, peer, server, rtt, secure=False)
        trips = row["round_trips_per_mail"] if row else None
        yield _claim(f"round trips per mail, {peer}, {server}", trips, at_most=most)


def _cold(result: Row) -> Iterator[Row]:
    yield _claim("round trips of a cold STARTTLS+AUTH hand-over", result["cold"]["ours"], at_most=plan.COLD_ROUND_TRIPS)


def _rendering(result: Row) -> Iterator[Row]:
    for measured in result["rendering"]:
        if measured["django"].startswith("6.1"):
            kinds = measured["kinds"]
            yield _claim(
                "CPU of a small mail, share of Django 6.1's", _kind(kinds, "small"), at_most=plan.SMALL_RENDERING
            )
            yield _claim("CPU of 1 MB, share of Django 6.1's", _kind(kinds, "attachment"), at_most=plan.LARGE_RENDERING)


def _kind(kinds: Row, word: str) -> float | None:
    return next((float(kind["ratio"]) for name, kind in kinds.items() if word in name), None)


def _linear(result: Row) -> Iterator[Row]:
    upto16 = [row["of_linear"] for row in result["threads"] if row["threads"] <= 16]
    yield _claim("threads x sessions up to 16, share of linear", min(upto16), at_least=1 - plan.LINEAR_WITHIN)


def _claim(text: str, value: float | None, *, at_least: float | None = None, at_most: float | None = None) -> Row:
    holds = None if value is None else (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    return {"claim": text, "value": value, "at_least": at_least, "at_most": at_most, "holds": holds}


def _find(result: Row, peer: str, server: str, rtt: float, *, secure: bool) -> Row | None:
    for row in result["rows"]:
        cell = row["cell"]
        same = (cell["server"], cell["rtt"], cell["secure"], cell["octets"]) == (server, rtt, secure, plan.SMALL)
        if same and row["peer"] == peer:
            return dict(row)
    return None


def write(result: Row, folder: Path) -> None:
    """``results.json``, ``results.md``, and each picture as SVG and PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "results.md").write_text(page(result))
    from benchmarks import pictures

    pictures.draw(result, folder)


def summary(result: Row) -> str:
    """The claims, one line each, for a terminal."""
    return "\n".join(f"{_mark(claim)}  {claim['claim']}: {_value(claim)}" for claim in result["claims"])


def _mark(claim: Row) -> str:
    return {True: "holds", False: "FAILS", None: "  -  "}[claim["holds"]]


def _value(claim: Row) -> str:
    if claim["value"] is None:
        return "not measured in this run"
    bound = f"at least {claim['at_least']:g}" if claim["at_least"] is not None else f"at most {claim['at_most']:g}"
    return f"{claim['value']:.2f} ({bound})"


def page(result: Row) -> str:
    """The Markdown page of the documentation."""
    parts = [
        "# Measured\n",
        (
            f"Python {result['python']}, Django {result['django']}, {result['machine']}, two cores, loopback; "
            f"{result['minutes']:.0f} minutes. Every peer in every round, in turn; medians. Mails per second, in "
            "brackets round trips per mail where the line has a delay. Who keeps sessions wakes them, uncounted, "
            "before each turn, since they were idle during the others'. At RTT 0 the server and its clients share "
            "two cores: trust those cells for their order of magnitude. Bold is the best of the cell.\n"
        ),
        "## Claims\n",
        "| claim | measured | promised | |\n|---|---|---|---|",
        *(_claim_row(claim) for claim in result["claims"]),
        "\n## All cells\n",
        *_tables(result),
        "\n## Growth\n",
        *_growth(result),
        "\n## Outboxes\n",
        *outbox_report.page(result["outbox"]),
        "\n## Who is who\n",
        *(f"* **{name}**: {_doc(name)}" for name in _peers_of(result)),
        "",
    ]
    return "\n".join(parts)


def _claim_row(claim: Row) -> str:
    if claim["value"] is None:
        return f"| {claim['claim']} | not in this run | | |"
    promised = f">= {claim['at_least']:g}" if claim["at_least"] is not None else f"<= {claim['at_most']:g}"
    return f"| {claim['claim']} | {claim['value']:.2f} | {promised} | {'holds' if claim['holds'] else '**missed**'} |"


def _tables(result: Row) -> Iterator[str]:
    titles = list(dict.fromkeys(row["cell"]["title"] for row in result["rows"]))
    names = _peers_of(result)
    yield "| cell | " + " | ".join(names) + " |\n|---|" + "---|" * len(names)
    for title in titles:
        rows = {row["peer"]: row for row in result["rows"] if row["cell"]["title"] == title}
        best = max(rows.values(), key=lambda row: float(row["mails_per_second"]))
        yield f"| {title} | " + " | ".join(_cell(rows.get(name), best) for name in names) + " |"


def _cell(row: Row | None, best: Row) -> str:
    if row is None:
        return "-"
    trips = row["round_trips_per_mail"]
    text = f"{row['mails_per_second']:.3g}" if row["mails_per_second"] < 1000 else f"{row['mails_per_second']:.0f}"
    text = f"**{text}**" if row is best else text
    return f"{text} ({trips:.2f})" if trips else text


def _growth(result: Row) -> Iterator[str]:
    yield "| threads sharing one client, RTT 50 ms | mails per second | share of linear |\n|---|---|---|"
    for row in result["threads"]:
        yield f"| {row['threads']} | {row['mails_per_second']:.1f} | {row['of_linear']:.2f} |"
    yield "\n| recipients of one mail, RTT 20 ms | milliseconds |\n|---|---|"
    for row in result["recipients"]:
        yield f"| {row['recipients']} | {row['milliseconds']:.1f} |"
    cold, memory = result["cold"], result["memory"]
    yield (
        f"\nA cold hand-over with STARTTLS and AUTH at RTT {cold['rtt']:g} ms takes {cold['ours']:.1f} round trips; "
        f"Django's own {cold['stock_django']:.1f}."
    )
    for name, megabytes in memory.items():
        yield f"Peak memory above the start, {name.replace('_', ' ')}: {megabytes:.0f} MB."
    yield "\n| rendering, CPU microseconds | Django's own | ours | ratio |\n|---|---|---|---|"
    for measured in result["rendering"]:
        for name, kind in measured["kinds"].items():
            yield (
                f"| Django {measured['django']}, {name} | {kind['django_us']:.0f} | {kind['ours_us']:.0f} "
                f"| {kind['ratio']:.2f} |"
            )


def _peers_of(result: Row) -> list[str]:
    return list(dict.fromkeys(row["peer"] for row in result["rows"]))


def _doc(name: str) -> str:
    return " ".join((getattr(peers, name).__doc__ or "").split())
