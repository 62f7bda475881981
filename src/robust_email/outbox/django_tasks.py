"""The outbox woken by ``django.tasks`` (Django 6.0), or its backport: another hint, with nothing asked of the backend.

Neither deferral nor retries are needed of it: the rows hold the schedule. Let cron run ``outbox_drain`` as the sweep.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from robust_email.outbox import dispatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _task_decorator() -> Callable[..., Any]:
    """Find whichever is installed; ``ImportError`` for neither."""
    try:
        module = import_module("django.tasks")
    except ImportError:
        module = import_module("django_tasks")
    decorator: Callable[..., Any] = module.task
    return decorator


task: Final = _task_decorator()


@task
def deliver(pk: str) -> str:
    """Make one attempt at one mail; returns its state, or "skipped"."""
    outcome = dispatch.run_one(UUID(pk))
    return outcome.state.value if outcome is not None else "skipped"


@task
def drain() -> int:
    """Work off one batch of what is due; returns how many mails were claimed."""
    return dispatch.run_batch().claimed


class DjangoTasksWakeUp:
    """Enqueues tasks by the project's default task backend."""

    bounded = False

    def notify(self, pks: Sequence[UUID]) -> None:
        """Have each of these mails delivered. Raises what the task backend raises."""
        for pk in pks:
            deliver.enqueue(str(pk))

    def notify_backlog(self) -> None:
        """Have a batch worked off. Raises as ``notify``."""
        drain.enqueue()
