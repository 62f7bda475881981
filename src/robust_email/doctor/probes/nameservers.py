"""The machine's resolver: what resolv.conf says, and whether each of its name servers answers for the relay's name."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robust_email.doctor import dnsquery
from robust_email.doctor.resolvconf import MOST_NAMESERVERS, ResolvConf, parse_resolv_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit

_TOLERABLE_FAILOVER: Final = 5
"""Seconds that a dead first server may cost; the C library's default."""
_NOBODY_THERE: Final = {"nameserver-silent", "nameserver-unreachable"}
_RCODES: Final = {dnsquery.SERVFAIL: "nameserver-fails", dnsquery.REFUSED: "nameserver-refuses"}


def examine(visit: Visit) -> Iterator[Finding]:
    """Judge resolv.conf, then ask each name server."""
    try:
        text = visit.surroundings.resolv_conf()
    except OSError as exc:
        yield visit.note("resolver-unknown", f"no resolv.conf to be read here ({exc.strerror or exc})")
        return
    conf = parse_resolv_conf(text)
    visit.search_domains = conf.search
    visit.search_first = conf.searched_first(visit.first_hop.host)
    yield from _judge(visit, conf)
    if is_local(visit.first_hop.host):
        return
    yield from _ask_all(visit, conf)


def is_local(host: str) -> bool:
    """Whether DNS has no say: an address, or this machine itself."""
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _judge(visit: Visit, conf: ResolvConf) -> Iterator[Finding]:
    where = "in a container; " if visit.in_container else ""
    servers = ", ".join(conf.nameservers) or "none"
    yield visit.note(
        "resolver", f"{where}name servers: {servers}; search: {', '.join(conf.search) or 'none'}; ndots:{conf.ndots}"
    )
    if not conf.nameservers:
        yield visit.note("resolver-no-nameserver", "resolv.conf names no name server")
    if len(conf.nameservers) > MOST_NAMESERVERS:
        yield visit.note("resolver-too-many-nameservers", f"{len(conf.nameservers)} name servers are listed")
    host = visit.first_hop.host
    if visit.search_first and "." in host and not is_local(host):
        yield visit.note(
            "resolver-ndots",
            f"ndots:{conf.ndots} sends {host!r} through {len(conf.search)} search domains first "
            f"({', '.join(conf.search)})",
        )
    if conf.timeout > _TOLERABLE_FAILOVER:
        yield visit.note("resolver-slow-failover", f"a dead name server costs {conf.timeout} s per question")


@dataclass(frozen=True, slots=True)
class _Response:
    """What one name server said about the relay's name: its finding, and the addresses or ``None`` where it said no."""

    finding: Finding
    answered: bool
    addresses: frozenset[str] = frozenset()


def _ask_all(visit: Visit, conf: ResolvConf) -> Iterator[Finding]:
    if not conf.asked:
        return
    with ThreadPoolExecutor(len(conf.asked)) as pool:
        responses = list(pool.map(lambda server: _ask_one(visit, conf, server), conf.asked))
    yield from (response.finding for response in responses)
    answered = [response for response in responses if response.answered]
    if len({bool(response.addresses) for response in answered}) > 1:
        yield visit.note("nameservers-disagree", f"some name servers know {visit.first_hop.host!r} and others do not")


def _ask_one(visit: Visit, conf: ResolvConf, server: str) -> _Response:
    host, port = visit.first_hop.host, visit.surroundings.nameserver_port
    with visit.timed() as watch:
        code, found, answer = "nameserver", "", None
        try:
            answers = [dnsquery.ask(server, host, kind, visit.patience, port) for kind in (dnsquery.A, dnsquery.AAAA)]
        except TimeoutError:
            code, found = "nameserver-silent", f"no answer within {visit.patience:g} s"
        except OSError as exc:
            code, found = "nameserver-unreachable", exc.strerror or type(exc).__name__
        except ValueError as exc:
            code, found = "nameserver-garbage", str(exc)
        else:
            addresses = frozenset(address for each in answers for address in each.addresses)
            code, found = _judge_answers({each.code for each in answers}, addresses, host)
            answer = addresses if code in {"nameserver", "nameserver-unknown-name"} else None
    if code in _NOBODY_THERE and visit.in_container and server in conf.loopback:
        code = "resolver-loopback-in-container"
    finding = visit.note(code, f"{server}: {found}", seconds=watch.seconds)
    return _Response(finding, answered=answer is not None, addresses=answer or frozenset())


def _judge_answers(codes: set[int], addresses: frozenset[str], host: str) -> tuple[str, str]:
    if addresses:
        return "nameserver", f"{host} is {', '.join(sorted(addresses))}"
    if dnsquery.NXDOMAIN in codes:
        return "nameserver-unknown-name", f"no such name: {host} (NXDOMAIN)"
    if codes == {dnsquery.NOERROR}:
        return "nameserver", f"{host} has neither an A nor an AAAA record"
    code = min(codes - {dnsquery.NOERROR})
    return _RCODES.get(code, "nameserver-fails"), f"it answers with RCODE {code}"
