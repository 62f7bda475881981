"""One governor over every kind of store: what many callers are granted together, and what its failing costs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from django.db import connections

from robust_email.smtp.events import Event, GovernorDegraded, GovernorRestored
from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.governor import (
    BreakerPolicy,
    Lane,
    MemoryStore,
    Observation,
    Probe,
    Rate,
    RelayLimits,
    SharedGovernor,
    StoreUnavailable,
    Wait,
)
from robust_email.smtp.outcome import classify_failure, classify_reply
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.smtp.governor import Store
    from robust_email.smtp.governor.interface import Stored

REFUSED = Observation(classify_failure(Failure(FailureKind.CONNECTION_REFUSED, Phase.CONNECT, "refused")))
LIMITS = RelayLimits(rates=(Rate(10, 3600),), connections=3, breaker=BreakerPolicy(failures=4, cooldown=30))


def at_once(count: int, work: Callable[[], object]) -> list[object]:
    """Run in so many threads at the same time; return what each gave."""
    gate, results = threading.Barrier(count), list[object]()

    def run() -> None:
        gate.wait()
        try:
            results.append(work())
        except Exception as exc:  # noqa: BLE001 - shown by the test
            results.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def governor(store: Store, limits: RelayLimits = LIMITS, **more: object) -> SharedGovernor:
    """As a process would have it."""
    return SharedGovernor("relay:25", "relay:25:ann", limits, store, dice=lambda: 0.0, **more)  # type: ignore[arg-type] # keywords as they come


def test_many_at_once_are_granted_what_there_is(store: Store) -> None:
    """Of eight processes that ask in the same moment, three get a connection; of sixteen mails ten go."""
    made = [governor(store) for _ in range(8)]
    pick = iter(made)
    permits = at_once(8, lambda: next(pick).connection(Lane.NORMAL, 0.0))
    assert sorted(type(permit).__name__ for permit in permits) == ["HeldPermit"] * 3 + ["Wait"] * 5
    pick = iter(made * 2)
    mails = at_once(16, lambda: next(pick).message(Lane.NORMAL, 1, 0.0))
    assert [mail for mail in mails if mail is not None] == [mail for mail in mails if isinstance(mail, Wait)]
    assert mails.count(None) == 10
    state = made[0].state()
    assert (state.connections, state.connection_limit, state.rates[0].used, state.degraded) == (3, 3, 10, False)
    for permit in permits:
        if not isinstance(permit, Wait):
            permit.release()  # type: ignore[attr-defined] # a permit


def test_faults_of_all_open_one_circuit_and_one_may_try(store: Store) -> None:
    """Four processes that see one fault each have seen four together; of eight that ask then, one is the probe."""
    made = [governor(store, RelayLimits(breaker=BreakerPolicy(failures=4, cooldown=0.01))) for _ in range(4)]
    assert [each.circuit() for each in made] == [None] * 4
    for each in made:
        each.observe(REFUSED)
    assert made[0].state().circuit == "open"
    threading.Event().wait(0.05)
    pick = iter(made * 2)
    answers = at_once(8, lambda: next(pick).circuit())
    assert sorted(type(answer).__name__ for answer in answers) == ["Probe"] + ["Wait"] * 7
    made[3].observe(Observation())
    assert [each.circuit() for each in made] == [None] * 4


class Failing:
    """A store that can be switched off."""

    def __init__(self) -> None:
        self.works = MemoryStore()
        self.is_gone = False
        self.asked = 0

    def read(self, key: str) -> Stored:
        """As the store, or not at all."""
        self.asked += 1
        if self.is_gone:
            raise StoreUnavailable("gone")
        return self.works.read(key)

    def swap(self, key: str, old: str | None, new: str, keep_for: float) -> bool:
        """As the store."""
        return self.works.swap(key, old, new, keep_for)


class Overtaken(MemoryStore):
    """A store in which something else happens just before a change is written."""

    meanwhile: Callable[[], object] | None = None

    def swap(self, key: str, old: str | None, new: str, keep_for: float) -> bool:
        """Let the other be faster, once."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().swap(key, old, new, keep_for)


def test_a_connection_given_back_while_it_is_renewed_is_not_held_on() -> None:
    """Else it would keep others out for a whole lease, though nobody has it."""
    store = Overtaken()
    made = governor(store, RelayLimits(connections=1, lease=60.0))
    permit = made.connection(Lane.NORMAL, 0.0)
    assert not isinstance(permit, Wait)
    store.meanwhile = lambda: permit.release(used=False)
    made.beat()
    assert made.state().connections == 0
    following = made.connection(Lane.NORMAL, 0.0)
    assert not isinstance(following, Wait)
    following.release()


def test_a_store_that_is_gone_is_told_once_and_asked_seldom() -> None:
    """Its part of the limits is what a process keeps to; when it is back, the shared count goes on."""
    store, heard, now = Failing(), list[Event](), [0.0]
    made = governor(
        store, RelayLimits(rates=(Rate(8, 3600),), processes=4), listener=heard.append, clock=lambda: now[0]
    )
    assert made.message(Lane.NORMAL, 1, 0.0) is None
    store.is_gone = True
    asked = store.asked
    assert [made.message(Lane.NORMAL, 1, 0.0) is None for _ in range(5)] == [True, True, False, False, False]
    assert store.asked == asked + 1
    assert made.state().degraded
    assert [type(event) for event in heard] == [GovernorDegraded]
    store.is_gone = False
    now[0] = 6.0
    assert made.message(Lane.NORMAL, 1, 0.0) is None
    assert [type(event) for event in heard] == [GovernorDegraded, GovernorRestored]
    assert made.state().rates[0].used == 2


@pytest.mark.parametrize(
    ("rate", "share"),
    [(Rate(30, 60), Rate(7, 60)), (Rate(3, 60), Rate(1, 80)), (Rate(1, 1), Rate(1, 4)), (Rate(4, 1), Rate(1, 1))],
)
def test_the_parts_together_are_no_more_than_the_whole(rate: Rate, share: Rate) -> None:
    """Four processes share a rate; where it is less than one each, each has one in a longer time."""
    limits = RelayLimits(rates=(rate,), connections=10, processes=4)
    assert limits.share().rates == (share,)
    assert 4 * share.limit / share.seconds <= rate.limit / rate.seconds
    assert limits.share().connections == 2
    assert RelayLimits(connections=3, processes=16).share().connections == 1


def test_what_is_learnt_by_one_holds_for_all() -> None:
    """Too many connections, said to one process, lowers the limit of the other; a refused log-in stops it."""
    store = MemoryStore()
    one, two = governor(store), governor(store)
    permits = [one.connection(Lane.NORMAL, 0.0) for _ in range(3)]
    one.observe(Observation(classify_reply(Phase.MAIL, Reply(432, (b"4.3.2 too many connections",)))))
    assert two.state().connection_limit == 2
    one.observe(Observation(classify_reply(Phase.AUTH, Reply(535, (b"5.7.8 wrong password",)))))
    answer = two.connection(Lane.PRIORITY, 0.0)
    assert isinstance(answer, Wait)
    assert "535" in answer.reason
    for permit in permits:
        assert not isinstance(permit, Wait)
        permit.release()


def test_learning_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of the governor's own is logged and costs no mail."""
    made = governor(MemoryStore())
    made._circuit = None  # type: ignore[assignment] # broken on purpose
    made.observe(REFUSED)
    assert "Learning from relay:25 failed" in caplog.text


def test_a_probe_whose_account_is_refused_has_found_the_endpoint_well() -> None:
    """The circuit closes, and the account alone is held back."""
    made = governor(MemoryStore(), RelayLimits(breaker=BreakerPolicy(failures=1, cooldown=1e-9)))
    made.observe(REFUSED)
    assert isinstance(made.circuit(), Probe)
    made.observe(Observation(classify_reply(Phase.AUTH, Reply(535))))
    assert made.circuit() is None


@pytest.mark.parametrize("text", ["", "no json", "[]", "3", '{"a":1}', '{"counts":3,"queue":4}', '{"holds":{"x":1}}'])
def test_what_another_version_wrote_counts_as_nothing(text: str) -> None:
    """During a deployment two versions share a store; neither may fail at what it can't read."""
    store = MemoryStore()
    for key in ("relay:25:circuit", "relay:25:ann:rates", "relay:25:ann:permits", "relay:25:ann:pressure"):
        assert store.swap(key, None, text, 60)
    made = governor(store)
    assert made.state().circuit == "closed"
    assert made.circuit() is None
    assert made.message(Lane.NORMAL, 1, 0.0) is None
    permit = made.connection(Lane.NORMAL, 0.0)
    assert not isinstance(permit, Wait)
    permit.release()
