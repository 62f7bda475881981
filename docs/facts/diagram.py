"""The picture of the session's states, drawn from ``protocol/states.py``; only places and routes are laid by hand.

A state without a place, or a move without a route, is a ``KeyError``: whoever changes the table is made to look at the
picture. What stays in its state is left to the table beside the picture.
"""

from __future__ import annotations

from html import escape
from typing import Final, NamedTuple

from facts.dialogue import digits
from robust_email.smtp.protocol.states import MAY_SEND, TRANSITIONS, SessionState, Verb

S = SessionState
WIDTH, HEIGHT = 980, 560
BOX_WIDTH, BOX_HEIGHT = 150, 44

PLACES: Final = {
    S.AWAIT_GREETING: (105, 70),
    S.IDENTIFY: (355, 70),
    S.READY: (620, 70),
    S.AUTHENTICATING: (870, 70),
    S.TLS_PENDING: (487, 185),
    S.TRANSACTION: (620, 300),
    S.DATA: (355, 300),
    S.AWAIT_FINAL: (620, 450),
    S.MUST_QUIT: (105, 300),
    S.CLOSED: (105, 450),
}
"""The middle of each state's box, in pixels."""


class Route(NamedTuple):
    """A path in SVG's notation, and where its label begins or, in the middle, stands."""

    path: str
    label: tuple[int, int]
    anchor: str = "middle"


ROUTES: Final = {
    (S.AWAIT_GREETING, S.IDENTIFY): Route("M180 70 H272", (227, 60)),
    (S.AWAIT_GREETING, S.MUST_QUIT): Route("M75 92 V270", (83, 215), "start"),
    (S.IDENTIFY, S.READY): Route("M430 62 H537", (486, 52)),
    (S.IDENTIFY, S.MUST_QUIT): Route("M292 92 C286 200 240 280 188 292", (272, 182), "end"),
    (S.READY, S.MUST_QUIT): Route("M590 92 V216 C590 244 390 220 188 306", (330, 238), "start"),
    (S.READY, S.TLS_PENDING): Route("M560 92 L520 155", (530, 118), "end"),
    (S.TLS_PENDING, S.IDENTIFY): Route("M440 163 L395 100", (402, 140), "end"),
    (S.READY, S.AUTHENTICATING): Route("M695 60 H787", (744, 50)),
    (S.AUTHENTICATING, S.READY): Route("M795 84 H703", (760, 112), "start"),
    (S.READY, S.TRANSACTION): Route("M612 92 V270", (604, 272), "end"),
    (S.TRANSACTION, S.READY): Route("M645 278 V100", (653, 225), "start"),
    (S.TRANSACTION, S.MUST_QUIT): Route("M575 322 C500 392 300 376 188 320", (290, 374)),
    (S.TRANSACTION, S.DATA): Route("M545 308 H438", (490, 328)),
    (S.DATA, S.AWAIT_FINAL): Route("M375 322 C390 420 460 450 537 450", (400, 420), "end"),
    (S.TRANSACTION, S.AWAIT_FINAL): Route("M620 322 V420", (628, 385), "start"),
    (S.AWAIT_FINAL, S.READY): Route("M695 450 C860 440 860 180 690 98", (846, 330), "start"),
    (S.MUST_QUIT, S.CLOSED): Route("M105 322 V420", (113, 385), "start"),
}

STYLE: Final = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2933 }
  .state { fill: #eef2f7; stroke: #52606d; stroke-width: 1.4 }
  .name { font-weight: 600; font-size: 14px; text-anchor: middle }
  .doubt { fill: #fff3d6; stroke: #b7791f; stroke-width: 2 }
  .end { fill: #f5f5f5; stroke: #9aa5b1 }
  .move { fill: none; stroke: #52606d; stroke-width: 1.4; marker-end: url(#tip) }
  .write { stroke: #b7791f; stroke-width: 2; stroke-dasharray: 6 4 }
  .said { font-size: 12px; fill: #3e4c59 }
  .note { font-size: 12.5px; fill: #52606d }
"""


def svg() -> str:
    """Return the picture."""
    moves = [_arrow(ROUTES[ends], words, "move") for ends, words in _moves().items()]
    writes = [_arrow(ROUTES[ends], words, "move write") for ends, words in _writes().items()]
    boxes = [_box(state) for state in SessionState]
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"
 aria-label="The states of an SMTP session and the replies that lead from one to the next">
<!-- Made by docs/generate.py out of robust_email/smtp/protocol/states.py -->
<style>{STYLE}</style>
<defs><marker id="tip" viewBox="0 0 10 10" refX="2" refY="5" markerWidth="7" markerHeight="7"
 orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="#52606d"/></marker></defs>
<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>
{chr(10).join([*moves, *writes, *boxes])}
<text class="note" x="620" y="492" text-anchor="middle">A session that ends here leaves the mail in doubt.</text>
<text class="note" x="30" y="520">Dashed: the last octets of a message are handed over; the state changes before they
 can leave.</text>
<text class="note" x="30" y="540">421 leads to "must quit" from everywhere, QUIT to "closed".
 Moves within a state are in the table.</text>
</svg>
"""


def _moves() -> dict[tuple[SessionState, SessionState], list[str]]:
    """Return what is said on each arrow that a reply makes."""
    found: dict[tuple[SessionState, SessionState], list[str]] = {}
    for move in TRANSITIONS:
        passes_final = move.verb.carries_final_mark and move.state is not S.AWAIT_FINAL
        if move.state is move.then or passes_final:
            continue
        found.setdefault((move.state, move.then), []).append(f"{move.verb.value} {' '.join(digits(move.classes))}")
    found[S.AWAIT_FINAL, S.READY] = ["any reply"]
    found[S.MUST_QUIT, S.CLOSED] = [Verb.QUIT.value, "or the end of", "the connection"]
    return found


def _writes() -> dict[tuple[SessionState, SessionState], list[str]]:
    """Return the arrows that a write makes: from wherever the end of a message may be said."""
    return {
        (state, S.AWAIT_FINAL): [verb.value for verb in Verb if verb in verbs and verb.carries_final_mark]
        for state, verbs in MAY_SEND.items()
        if any(verb.carries_final_mark for verb in verbs)
    }


def _arrow(route: Route, words: list[str], kind: str) -> str:
    x, y = route.label
    first = y - 14 * (len(words) - 1)
    texts = (
        f'<text class="said" x="{x}" y="{first + 14 * index}" text-anchor="{route.anchor}">{escape(word)}</text>'
        for index, word in enumerate(words)
    )
    return f'<path class="{kind}" d="{route.path}"/>{"".join(texts)}'


def _box(state: SessionState) -> str:
    x, y = PLACES[state]
    kind = {S.AWAIT_FINAL: "state doubt", S.CLOSED: "state end", S.MUST_QUIT: "state end"}.get(state, "state")
    left, top = x - BOX_WIDTH // 2, y - BOX_HEIGHT // 2
    return (
        f'<rect class="{kind}" x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>'
        f'<text class="name" x="{x}" y="{y + 5}">{escape(state.value)}</text>'
    )
