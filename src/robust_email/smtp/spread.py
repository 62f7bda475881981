"""One iterable of submissions spread over several workers, results gathered as they come."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from robust_email.smtp.batch import Finished, Job, Submission


class Shared:
    """An iterator that several workers take from; ends for all when one of them failed.

    A worker that can get no session leaves what it took to those that have one.
    """

    def __init__(self, source: Iterable[Submission], workers: int) -> None:
        """Serve ``workers`` threads."""
        self._source = iter(source)
        self._left: deque[Job] = deque()
        self._lock = threading.Lock()
        self._at_work = workers
        self._gone: set[int] = set()
        self.stopped = False

    def __iter__(self) -> Iterator[Submission | Job]:
        return self

    def __next__(self) -> Submission | Job:
        with self._lock:
            if self.stopped:
                raise StopIteration
            return self._left.popleft() if self._left else next(self._source)

    def leave_to_others(self, jobs: Iterable[Job]) -> bool:
        """Give up as a worker, leaving ``jobs``; ``False`` for the last one, who has nobody to leave them to."""
        with self._lock:
            if self._at_work <= 1:
                return False
            self._at_work -= 1
            self._gone.add(threading.get_ident())
            self._left.extend(jobs)
            return True

    def is_done(self) -> bool:
        """A worker asks whether it may end. If so, nothing more is left to it."""
        with self._lock:
            if threading.get_ident() in self._gone:
                return True
            if self._left and not self.stopped:
                return False
            self._at_work -= 1
            return True


class _Done:
    """A worker's last word; ``error`` is what it raised."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def spread(
    source: Iterable[Submission], workers: int, work: Callable[[Shared], Iterator[Finished]]
) -> Iterator[Finished]:
    """Run ``work`` in ``workers`` threads over one shared iterator and yield what they yield.

    The queue between is bounded, so memory is too. The first error of a worker is raised once all have ended what
    they had under way. When the caller stops early, so do the workers, after what they have under way.
    """
    shared = Shared(source, workers)
    results: queue.Queue[Finished | _Done] = queue.Queue(maxsize=8 * workers)

    def run() -> None:
        error: BaseException | None = None
        try:
            done = False
            while not done:
                for finished in work(shared):
                    results.put(finished)
                done = shared.is_done()
        except BaseException as exc:  # noqa: BLE001 - raised again in the caller's thread
            error = exc
            shared.stopped = True
        results.put(_Done(error))

    threads = [
        # Each in a copy of the caller's context: what a listener finds there (a trace, say) is the caller's.
        threading.Thread(target=contextvars.copy_context().run, args=(run,), name=f"robust-email-{number}", daemon=True)
        for number in range(workers)
    ]
    for thread in threads:
        thread.start()
    errors: list[BaseException] = []
    try:
        yield from _gathered(results, workers, errors)
    finally:
        shared.stopped = True
        for thread in threads:
            _drain(results, thread)
    if errors:
        raise errors[0]


def _gathered(results: queue.Queue[Finished | _Done], workers: int, errors: list[BaseException]) -> Iterator[Finished]:
    while workers:
        result = results.get()
        if not isinstance(result, _Done):
            yield result
            continue
        workers -= 1
        if result.error is not None:
            errors.append(result.error)


def _drain(results: queue.Queue[Finished | _Done], thread: threading.Thread) -> None:
    """Let a worker that waits for room in the queue come to its end."""
    while thread.is_alive():
        with contextlib.suppress(queue.Empty):
            results.get(timeout=0.05)
    thread.join()
