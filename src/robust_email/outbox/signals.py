"""What became of a row, as a Django signal, sent after it was committed.

What a receiver raises is logged by Django and ends there: it can neither undo a mail nor cause a second one. A worker
that is killed between the commit and the signal sends none; whoever must not miss one looks at the rows.
"""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

settled: Final = Signal()
"""An attempt ended. ``sender`` is ``OutboxMessage``; ``message`` the row, with its new ``state``; ``report`` the
``SubmissionReport``, or None for a row that could not be submitted at all."""
