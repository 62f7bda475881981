"""Errors of the database at chosen statements, on connections that are there and on those made meanwhile."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import Error, InterfaceError, connections
from django.db.backends.signals import connection_created

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(kw_only=True)
class DatabaseFault:
    """Raises ``error`` at the first ``times`` statements that hold ``part``; counts in all threads."""

    part: str = ""
    error: type[Error] = InterfaceError
    times: int = 1
    struck: int = 0
    passed: threading.Event = field(default_factory=threading.Event)
    """Such a statement has run since without an error."""

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: ANN401, FBT001 - Django's signature of a wrapper
        """Run a statement, or not."""
        concerned = self.part in sql
        if concerned and self.struck < self.times:
            self.struck += 1
            raise self.error(0, "")
        result = execute(sql, params, many, context)
        if concerned:
            self.passed.set()
        return result


@contextmanager
def database_fault(fault: DatabaseFault) -> Iterator[DatabaseFault]:
    """Have a fault on every connection of every thread that is made or used by this one."""
    wrapped: list[list[Any]] = []

    def wrap(connection: Any, **_: object) -> None:  # noqa: ANN401 - Django's
        if fault not in connection.execute_wrappers:
            connection.execute_wrappers.append(fault)
            wrapped.append(connection.execute_wrappers)

    connection_created.connect(wrap)
    for connection in connections.all(initialized_only=True):
        wrap(connection)
    try:
        yield fault
    finally:
        connection_created.disconnect(wrap)
        for wrappers in wrapped:
            wrappers.remove(fault)
