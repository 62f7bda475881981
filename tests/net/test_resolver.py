"""Names to addresses: one lookup for all, deadlines that hold, old answers where DNS fails, forked children."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.config import DnsPolicy
from robust_email.smtp.failure import FailureKind, SessionFailure
from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.resolver import GRACE, Answer, Resolver, shared_resolver
from robust_email.smtp.phases import Phase
from robust_email.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Sequence

OLD, NEW = "192.0.2.1", "192.0.2.2"


def infos(*addresses: str) -> list[Any]:
    """Make what ``getaddrinfo`` returns."""
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 25, 0, 0))
        if ":" in address
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 25))
        for address in addresses
    ]


class Dns:
    """A DNS that answers, errs or hangs as the test says; every call is counted."""

    def __init__(self, *addresses: str) -> None:
        """Answer with the addresses at once."""
        self.answer: Sequence[Any] | Exception = infos(*addresses)
        self.calls = 0
        self.awake = threading.Event()
        self.awake.set()
        self.asked = threading.Event()

    def __call__(self, host: str, port: int, *, type: int) -> Sequence[Any]:  # noqa: A002 - getaddrinfo's own name
        """Look up, as ``socket.getaddrinfo`` does."""
        self.calls += 1
        self.asked.set()
        assert self.awake.wait(10.0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def first(answer: Answer) -> str:
    """The first address of an answer."""
    return str(answer.addresses[0].sockaddr[0])


@pytest.fixture
def clock() -> FakeClock:
    """Give the clock of the answers' ages; deadlines in these tests are of real seconds."""
    return FakeClock()


def wait_until_idle(resolver: Resolver) -> None:
    """Wait for the lookups under way."""
    for lookup in list(resolver._under_way.values()):
        assert lookup.done.wait(10.0)


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "::1", "fe80::1%lo"])
def test_an_address_is_not_looked_up(host: str, soon: Deadline) -> None:
    """IP literals need no DNS, dead or alive."""
    dns = Dns()
    answer = Resolver(getaddrinfo=dns).resolve(host, 587, soon)
    assert first(answer).partition("%")[0] == host.partition("%")[0]
    assert (answer.addresses[0].sockaddr[1], answer.stale_age, dns.calls) == (587, None, 0)


def test_the_real_resolver_knows_localhost(soon: Deadline) -> None:
    """Without an injected function the operating system's is asked."""
    answer = Resolver().resolve("localhost", 25, soon)
    assert {address.sockaddr[0] for address in answer.addresses} <= {"127.0.0.1", "::1"}


def test_order_is_kept_and_doubles_are_not(soon: Deadline) -> None:
    """The system's preference (RFC 6724) is the connector's."""
    answer = Resolver(getaddrinfo=Dns("2001:db8::1", OLD, OLD, NEW)).resolve("mx.test", 25, soon)
    assert [str(address) for address in answer.addresses] == ["[2001:db8::1]:25", f"{OLD}:25", f"{NEW}:25"]


def test_an_answer_is_trusted_for_its_time(clock: FakeClock, soon: Deadline) -> None:
    """One lookup serves everybody for ``ttl`` seconds, and not a second longer."""
    dns = Dns(OLD)
    resolver = Resolver(DnsPolicy(ttl=60.0), clock=clock, getaddrinfo=dns)
    resolver.resolve("mx.test", 25, soon)
    dns.answer = infos(NEW)
    clock.advance(59.0)
    assert (first(resolver.resolve("mx.test", 25, soon)), dns.calls) == (OLD, 1)
    clock.advance(1.0)
    assert resolver.resolve("mx.test", 25, soon) == Answer(resolver.resolve("mx.test", 25, soon).addresses)
    assert (first(resolver.resolve("mx.test", 25, soon)), dns.calls) == (NEW, 2)
    resolver.forget()
    resolver.resolve("mx.test", 25, soon)
    assert dns.calls == 3


def test_all_who_wait_share_one_lookup(soon: Deadline) -> None:
    """A slow DNS gets one question, not one per thread; all get its answer."""
    dns = Dns(OLD)
    dns.awake.clear()
    resolver = Resolver(getaddrinfo=dns)
    found: list[Answer] = []
    threads = [threading.Thread(target=lambda: found.append(resolver.resolve("mx.test", 25, soon))) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert dns.asked.wait(10.0)
    dns.awake.set()
    for thread in threads:
        thread.join(10.0)
    assert [first(answer) for answer in found] == [OLD] * 16
    assert dns.calls == 1


def test_a_dead_dns_costs_the_deadline_and_one_thread() -> None:
    """However often it is asked, nobody waits longer, and no second thread is left behind."""
    dns = Dns(OLD)
    dns.awake.clear()
    resolver = Resolver(getaddrinfo=dns)
    for _ in range(5):
        began = time.monotonic()
        with pytest.raises(SessionFailure, match=r"DNS did not answer in time.*nameserver") as caught:
            resolver.resolve("mx.test", 25, Deadline.after(0.05))
        assert 0.05 <= time.monotonic() - began < 0.5
        assert (caught.value.failure.kind, caught.value.failure.phase) == (FailureKind.TIMEOUT, Phase.RESOLVE)
    assert dns.calls == 1
    dns.awake.set()
    wait_until_idle(resolver)


ERRORS = [
    (socket.gaierror(-2, "Name or service not known"), FailureKind.NAME_UNKNOWN),
    (socket.gaierror(-3, "Temporary failure in name resolution"), FailureKind.RESOLVER_DOWN),
    (socket.gaierror(-5, "No address associated with hostname"), FailureKind.NAME_UNKNOWN),
    (OSError(24, "Too many open files"), FailureKind.RESOLVER_DOWN),
    (UnicodeError("label empty or too long"), FailureKind.NAME_UNKNOWN),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS, ids=str)
def test_an_error_reaches_whoever_has_nothing_else(error: Exception, kind: FailureKind, soon: Deadline) -> None:
    """Nothing is cached of it: the next call asks again."""
    dns = Dns()
    dns.answer = error
    resolver = Resolver(getaddrinfo=dns)
    for calls in (1, 2):
        with pytest.raises(SessionFailure) as caught:
            resolver.resolve("mx.test", 25, soon)
        assert caught.value.__cause__ is error
        assert (caught.value.failure.kind, caught.value.failure.phase) == (kind, Phase.RESOLVE)
        assert dns.calls == calls


@pytest.mark.parametrize("error", [row[0] for row in ERRORS], ids=str)
def test_the_last_good_answer_bridges_a_failing_dns(error: Exception, clock: FakeClock, soon: Deadline) -> None:
    """The brief's -2, -3 and -5 cost no mail where the name was known before; the age is told."""
    dns = Dns(OLD)
    resolver = Resolver(DnsPolicy(ttl=60.0, max_stale=600.0), clock=clock, getaddrinfo=dns)
    resolver.resolve("mx.test", 25, soon)
    dns.answer = error
    clock.advance(61.0)
    answer = resolver.resolve("mx.test", 25, soon)
    assert (first(answer), answer.stale_age) == (OLD, 61.0)


def test_an_answer_is_bridged_with_no_longer_than_allowed(clock: FakeClock, soon: Deadline) -> None:
    """Past ``max_stale`` the addresses may be anybody's."""
    dns = Dns(OLD)
    resolver = Resolver(DnsPolicy(ttl=60.0, max_stale=600.0), clock=clock, getaddrinfo=dns)
    resolver.resolve("mx.test", 25, soon)
    dns.answer = socket.gaierror(-3, "x")
    clock.advance(659.0)
    assert resolver.resolve("mx.test", 25, soon).stale_age == 659.0
    clock.advance(1.0)
    with pytest.raises(SessionFailure):
        resolver.resolve("mx.test", 25, soon)


def test_a_hanging_dns_costs_a_moment_once_and_then_nothing(clock: FakeClock, soon: Deadline) -> None:
    """The first to find the answer outdated waits for ``GRACE``; those after it do not wait at all."""
    dns = Dns(OLD)
    resolver = Resolver(DnsPolicy(ttl=60.0), clock=clock, getaddrinfo=dns)
    resolver.resolve("mx.test", 25, soon)
    dns.awake.clear()
    clock.advance(61.0)
    began = time.monotonic()
    assert resolver.resolve("mx.test", 25, soon).stale_age == 61.0
    assert GRACE <= time.monotonic() - began < GRACE + 1.0
    clock.advance(GRACE)
    began = time.monotonic()
    assert resolver.resolve("mx.test", 25, soon).stale_age == 61.0 + GRACE
    assert time.monotonic() - began < 0.5
    assert dns.calls == 2

    dns.answer = socket.gaierror(-3, "Temporary failure")
    dns.awake.set()
    wait_until_idle(resolver)
    dns.awake.clear()
    began = time.monotonic()
    assert resolver.resolve("mx.test", 25, soon).stale_age == 61.0 + GRACE
    assert time.monotonic() - began < 0.5, "a renewal that failed before is not waited for"

    dns.answer = infos(NEW)
    dns.awake.set()
    wait_until_idle(resolver)
    answer = resolver.resolve("mx.test", 25, soon)
    assert (first(answer), answer.stale_age) == (NEW, None)


def test_a_deadline_shorter_than_the_moment_wins(clock: FakeClock) -> None:
    """Even with an old answer in hand nobody waits past the deadline."""
    dns = Dns(OLD)
    resolver = Resolver(DnsPolicy(ttl=0.0), clock=clock, getaddrinfo=dns)
    resolver.resolve("mx.test", 25, Deadline.after(5.0))
    dns.awake.clear()
    began = time.monotonic()
    assert resolver.resolve("mx.test", 25, Deadline.after(0.05)).stale_age == 0.0
    assert time.monotonic() - began < GRACE
    dns.awake.set()
    wait_until_idle(resolver)


def test_without_a_thread_there_is_an_error_and_no_hang(soon: Deadline, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of threads, or while the interpreter ends, the verdict is a failed lookup."""

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = Resolver(getaddrinfo=Dns(OLD))
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(SessionFailure, match="can't start new thread") as caught:
        resolver.resolve("mx.test", 25, soon)
    assert caught.value.failure.kind is FailureKind.RESOLVER_DOWN


def test_an_empty_answer_is_an_unknown_name(soon: Deadline) -> None:
    """No caller has to think of an answer without addresses."""
    with pytest.raises(SessionFailure) as caught:
        Resolver(getaddrinfo=Dns()).resolve("mx.test", 25, soon)
    assert caught.value.failure.kind is FailureKind.NAME_UNKNOWN


def test_memory_is_bounded(soon: Deadline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service with a relay per tenant does not grow for ever; the latest names stay."""
    monkeypatch.setattr("robust_email.smtp.net.resolver._MAX_NAMES", 3)
    dns = Dns(OLD)
    resolver = Resolver(getaddrinfo=dns)
    for name in "abcde":
        resolver.resolve(name, 25, soon)
    assert [host for host, _ in resolver._known] == ["c", "d", "e"]


def test_equal_policies_share_one_resolver() -> None:
    """All pools of a process profit from one answer, and share one thread for a dead DNS."""
    assert shared_resolver(DnsPolicy(ttl=12.0)) is shared_resolver(DnsPolicy(ttl=12.0))
    assert shared_resolver(DnsPolicy(ttl=12.0)) is not shared_resolver(DnsPolicy(ttl=13.0))


@given(st.text(max_size=80) | st.ip_addresses().map(str))
def test_no_text_is_taken_for_an_address_wrongly(host: str) -> None:
    """Whatever is configured as host: a literal connects to itself, all else is looked up, nothing crashes."""
    dns = Dns(OLD)
    answer = Resolver(getaddrinfo=dns).resolve(host, 25, Deadline.after(10.0))
    if dns.calls:
        assert first(answer) == OLD
    else:
        assert ipaddress.ip_address(first(answer)) == ipaddress.ip_address(host)


def test_an_address_of_an_interface_that_is_not_here(soon: Deadline) -> None:
    """A link-local address with a wrong scope is a failure to resolve like any other."""
    with pytest.raises(SessionFailure) as caught:
        Resolver().resolve("fe80::1%nowhere0", 25, soon)
    assert caught.value.failure.phase is Phase.RESOLVE


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork with threads is what this is about
def test_a_forked_child_looks_up_by_itself(soon: Deadline) -> None:
    """The parent's thread and lock do not exist in the child: a prefork worker does not hang on them."""
    dns = Dns(OLD)
    dns.awake.clear()
    resolver = Resolver(getaddrinfo=dns)
    with pytest.raises(SessionFailure):
        resolver.resolve("mx.test", 25, Deadline.after(0.0))
    assert dns.asked.wait(10.0)
    with resolver._lock:  # as if another thread of the parent held it at that moment
        child = os.fork()
        if child == 0:
            status = 1
            signal.alarm(20)  # a child that hangs is killed, and fails the test
            try:
                dns.awake = threading.Event()
                dns.awake.set()
                status = 0 if first(resolver.resolve("mx.test", 25, Deadline.after(5.0))) == OLD else 2
            finally:
                os._exit(status)
    _, status = os.waitpid(child, 0)
    dns.awake.set()
    wait_until_idle(resolver)
    assert os.waitstatus_to_exitcode(status) == 0
