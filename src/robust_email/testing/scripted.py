"""``ScriptedServer``: a real SMTP server on a free port of the loopback, in threads, that misbehaves to order."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Self

from robust_email.testing.channel import Channel
from robust_email.testing.conversation import Conversation
from robust_email.testing.faults import Action, Fault, FaultPlan
from robust_email.testing.ledger import AcceptedMessage, Ledger, Transcript
from robust_email.testing.script import Script
from robust_email.testing.stage import Stage

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from types import TracebackType

_BACKLOG = 256
_JOIN_TIMEOUT = 10.0
"""Seconds for a connection's thread to notice the end; it takes milliseconds, and more is an error of this module."""


class ScriptedServer:
    """An SMTP server that follows a :class:`~robust_email.testing.Script`.

    Use it as a context manager, or :meth:`start` and :meth:`close`. After :meth:`close` no thread and no socket is
    left, whatever the connections were doing, and the ledger can still be read.
    """

    def __init__(self, script: Script | None = None, *, port: int = 0) -> None:
        """Describe the server; nothing is opened. ``port`` 0 takes a free one."""
        self.script = script or Script()
        self.host = "127.0.0.1"
        self._port = port
        self._plan = FaultPlan(self.script.faults)
        self._ledger = Ledger()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._channels: dict[int, Channel] = {}
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.current_thread()
        self._listener: socket.socket | None = None
        self._wake_reader: socket.socket | None = None
        self._wake_writer: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port in use; :exc:`RuntimeError` before :meth:`start`."""
        if not self._port:
            raise RuntimeError("the server has not been started")
        return self._port

    @property
    def accepted(self) -> list[AcceptedMessage]:
        """The messages that the server took responsibility for, in order."""
        return self._ledger.accepted

    @property
    def transcripts(self) -> list[Transcript]:
        """All connections so far, in order."""
        return self._ledger.transcripts

    @property
    def connections(self) -> int:
        """How many connections were opened so far."""
        return self._ledger.connections

    @property
    def commands(self) -> Counter[str]:
        """How often each verb (upper case) came, over all connections."""
        return self._ledger.commands

    def transcript(self, connection: int = 1) -> Transcript:
        """Return one connection's transcript, counted from 1; :exc:`IndexError` if there is none."""
        return self.transcripts[connection - 1]

    def wait_for(self, predicate: Callable[[ScriptedServer], bool], timeout: float = 5.0) -> None:
        """Wait until ``predicate(server)`` holds; :exc:`TimeoutError` after ``timeout`` seconds."""
        if not self._ledger.wait_for(lambda: predicate(self), timeout):
            raise TimeoutError(f"not so within {timeout} s: {self!r}")

    def add_fault(self, fault: Fault) -> None:
        """Add a fault while the server runs."""
        self._plan.add(fault)

    def clear_faults(self) -> None:
        """Behave from now on; what is being performed goes on."""
        self._plan.clear()

    def act(self, action: Action, connection: int | None = None) -> None:
        """Perform an action unasked, on one connection (from 1) or on all that are open, when it next awaits a command.

        ``server.act(Reply("421 4.4.2 idle too long"))`` is a server that tires of an idle session. Returns at once.
        """
        with self._lock:
            chosen = [channel for number, channel in self._channels.items() if connection in (None, number)]
        for channel in chosen:
            channel.post(action)

    def start(self) -> Self:
        """Listen and serve; returns the server itself."""
        self._listener = socket.create_server((self.host, self._port), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._acceptor = self._run(self._accept_all, "accepting")
        return self

    def close(self) -> None:
        """End every connection at once and wait until all threads are gone."""
        if self._listener is None or self._wake_writer is None or self._wake_reader is None:
            return
        self._stopping.set()
        self._wake_writer.send(b"\0")
        self._acceptor.join(_JOIN_TIMEOUT)
        with self._lock:
            threads, channels = list(self._threads), list(self._channels.values())
        for channel in channels:
            channel.interrupt()
        for thread in threads:
            thread.join(_JOIN_TIMEOUT)
        for sock in (self._listener, self._wake_reader, self._wake_writer):
            sock.close()
        self._listener = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        """Show the state that a failed wait needs explained."""
        return (
            f"<ScriptedServer port={self._port} connections={self.connections} "
            f"accepted={len(self.accepted)} commands={dict(self.commands)}>"
        )

    def _accept_all(self) -> None:
        listener, wake = self._listener, self._wake_reader
        if listener is None or wake is None:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                    self._serve(listener.accept()[0])

    def _serve(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        record = self._ledger.open_record()
        channel = Channel(sock, record, self._stopping)
        stage = Stage(channel, self.script, self._plan, self._ledger)
        with self._lock:
            self._channels[record.connection] = channel
        if self._stopping.is_set():
            channel.interrupt()
        self._run(lambda: self._converse(stage), f"connection {record.connection}")

    def _converse(self, stage: Stage) -> None:
        Conversation(stage).run()
        with self._lock:
            self._channels.pop(stage.record.connection, None)

    def _run(self, target: Callable[[], None], what: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=f"ScriptedServer {self._port} {what}", daemon=True)
        with self._lock:
            self._threads = [each for each in self._threads if each.is_alive()]
            self._threads.append(thread)
            thread.start()
        return thread
