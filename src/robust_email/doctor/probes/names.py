"""The relay's name to addresses, by the very look-up that the library does."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from robust_email.doctor import dnsquery
from robust_email.doctor.explaining import cause_of_failure
from robust_email.doctor.probes.nameservers import is_local
from robust_email.doctor.resolvconf import parse_resolv_conf
from robust_email.smtp.failure import SessionFailure
from robust_email.smtp.net.deadline import Deadline
from robust_email.smtp.net.race import interleave
from robust_email.smtp.net.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.doctor.findings import Finding
    from robust_email.doctor.visit import Visit


def examine(visit: Visit) -> Iterator[Finding]:
    """Look the name up, and judge what it leads to."""
    config, hop = visit.config, visit.first_hop
    resolver = Resolver(config.dns, clock=visit.clock, getaddrinfo=visit.surroundings.getaddrinfo)
    started = visit.clock()
    try:
        answer = resolver.resolve(hop.host, hop.port, Deadline.after(config.timeouts.dns, visit.clock))
    except SessionFailure as exc:
        yield _unresolved(visit, exc, visit.clock() - started)
        return
    seconds = visit.clock() - started
    visit.addresses = tuple(interleave(answer.addresses))
    visit.opening_seconds += seconds
    hosts = [str(address.sockaddr[0]) for address in visit.addresses]
    yield visit.note("name", f"{hop.host} is {', '.join(hosts)}", seconds=seconds)
    if seconds > visit.slow:
        yield visit.note("name-slow", f"the look-up took {seconds:.1f} s", seconds=seconds)
    yield from _judge_loopback(visit, hosts)
    yield from _judge_search(visit)


def _unresolved(visit: Visit, error: SessionFailure, seconds: float) -> Finding:
    host, cause = visit.first_hop.host, error.__cause__
    code = cause_of_failure(error.failure, cause)
    if isinstance(cause, UnicodeError):
        return visit.note("name-malformed", f"{host!r} cannot be a host name ({cause})", seconds=seconds)
    if isinstance(cause, socket.gaierror):
        found = f"getaddrinfo({host!r}): [Errno {cause.errno}] {cause.strerror}"
    else:
        found = f"{host}: no answer to the look-up within {seconds:.1f} s" if cause is None else f"{host}: {cause}"
    if code in {"name-unknown", "name-try-again"} and "." not in host:
        searched = ", ".join(visit.search_domains) or "none"
        return visit.note("name-needs-search-domain", f"{found}; search domains: {searched}", seconds=seconds)
    return visit.note(code, found, seconds=seconds)


def _judge_loopback(visit: Visit, hosts: list[str]) -> Iterator[Finding]:
    if any(_ends_here(host) for host in hosts) and not is_local(visit.first_hop.host):
        yield visit.note("name-is-loopback", f"{visit.first_hop.host} leads to this machine itself")


def _ends_here(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return address.is_loopback or address.is_unspecified


def _judge_search(visit: Visit) -> Iterator[Finding]:
    """Whether the answer came from a search domain that is asked before the name as it is."""
    host = visit.first_hop.host
    if not visit.search_first or "." not in host or is_local(host):
        return
    servers = parse_resolv_conf(visit.surroundings.resolv_conf()).asked[:1]
    ours = {str(address.sockaddr[0]) for address in visit.addresses}
    for server in servers:
        for domain in visit.search_first:
            name = f"{host}.{domain}"
            try:
                answer = dnsquery.ask(server, name, dnsquery.A, visit.patience, visit.surroundings.nameserver_port)
            except (OSError, ValueError):
                return  # the probe of the name servers has said so
            if ours & set(answer.addresses):
                found = f"the answer is that of {name}, by the search domain {domain}"
                yield visit.note("name-from-search-domain", found)
                return
