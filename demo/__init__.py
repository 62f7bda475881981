"""``make demo`` and ``make run``: the reference service on embedded defaults, with a scripted relay that misbehaves."""

from __future__ import annotations

RELAY = "mail.shop.test"
"""The relay's name, which only the demo's own DNS knows."""
