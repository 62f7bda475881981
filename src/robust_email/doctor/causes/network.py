"""Codes of what lies before the first octet of SMTP: configuration, DNS, TCP."""

from __future__ import annotations

from typing import Final

from robust_email.doctor.causes.cause import Cause
from robust_email.doctor.findings import Severity

_OK, _INFO, _WARNING, _ERROR = Severity.OK, Severity.INFO, Severity.WARNING, Severity.ERROR

CONTAINER_DNS: Final = (
    "In a container: give it a name server that it can reach (`docker run --dns ADDRESS`, `dns:` of the service in "
    'compose.yaml, or `"dns"` in /etc/docker/daemon.json), attach it to a network that leads there (`networks:`, not '
    "one with `internal: true`), and let the host's firewall pass its port 53. `nameserver` in the container's "
    "/etc/resolv.conf shows what it uses."
)

NETWORK: Final = {
    # -- configuration
    "configuration": Cause(_OK),
    "configuration-unusable": Cause(_ERROR, "Correct the option; the documentation lists each with its type and unit."),
    "backend-not-smtp": Cause(
        _ERROR,
        "Set EMAIL_BACKEND (or BACKEND of the mailer) to 'robust_email.backend.RobustSMTPEmailBackend'. Until then "
        "every mail ends inside this process, without an error.",
    ),
    "backend-not-ours": Cause(
        _INFO, "'robust_email.backend.RobustSMTPEmailBackend' takes the same settings and adds pool, retries, reports."
    ),
    "own-sockets": Cause(
        _INFO, "The doctor looks up and connects by itself; what that class does differently, it cannot see."
    ),
    "port-unusual": Cause(
        _WARNING,
        "Port 587 goes with EMAIL_USE_TLS (URL: smtp+starttls://), port 465 with EMAIL_USE_SSL (URL: smtps://).",
    ),
    "login-half-configured": Cause(
        _WARNING,
        "Nobody will log in. Set user name and password both, or neither; if the password comes from the environment "
        "(EMAIL_HOST_PASSWORD), it is not there.",
    ),
    "password-in-url": Cause(
        _WARNING,
        "It is in the shell's history and in the process list now. Leave it out of the URL: it is read from the "
        "environment variable EMAIL_HOST_PASSWORD, or asked for.",
    ),
    # -- the machine's resolver
    "resolver": Cause(_OK),
    "resolver-unknown": Cause(_INFO),
    "resolver-no-nameserver": Cause(
        _WARNING,
        "Without a `nameserver` line the resolver asks 127.0.0.1, where in a container nobody listens. "
        + CONTAINER_DNS,
    ),
    "resolver-loopback-in-container": Cause(
        _WARNING,
        "This address is the container itself, not its host, whose stub resolver was probably meant. Point it to the "
        "host's real name server. " + CONTAINER_DNS,
    ),
    "resolver-too-many-nameservers": Cause(_INFO, "The C library asks the first three only; the others are ignored."),
    "resolver-ndots": Cause(
        _WARNING,
        "Each look-up of the relay's name asks all search domains first, in vain. Write EMAIL_HOST with a dot at its "
        "end, or set `ndots:1` (`dns_opt:` in compose.yaml, `dnsConfig.options` in Kubernetes).",
    ),
    "resolver-slow-failover": Cause(
        _INFO,
        "If the first name server dies, each look-up waits that long for it. `options timeout:1 attempts:2` in "
        "resolv.conf (`dns_opt:` in compose.yaml) shortens it; the library bridges it with the last good addresses.",
    ),
    "nameserver": Cause(_OK),
    "nameserver-silent": Cause(_WARNING, "No answer on UDP port 53. " + CONTAINER_DNS),
    "nameserver-unreachable": Cause(
        _WARNING, "There is no way to it from here, or nothing listens on its port 53. " + CONTAINER_DNS
    ),
    "nameserver-refuses": Cause(
        _WARNING,
        "It does not serve this machine (REFUSED): use a resolver that is meant for clients, not an authoritative one, "
        "or let this network in. " + CONTAINER_DNS,
    ),
    "nameserver-fails": Cause(
        _WARNING,
        "It could not find out (SERVFAIL): its own upstream is dead, or the domain's DNSSEC or delegation is broken. "
        "Ask another resolver to see which.",
    ),
    "nameserver-garbage": Cause(_WARNING, "What answers on port 53 there is no DNS server."),
    "nameserver-unknown-name": Cause(
        _WARNING,
        "This name server says that the name does not exist. If another one knows it (a private zone, a Docker "
        "network's service names), put that one first.",
    ),
    "nameservers-disagree": Cause(
        _WARNING,
        "Which answer is used depends on which server is asked first or is alive. List only servers that know the "
        "same names: a resolver takes the first answer, also a no.",
    ),
    # -- the name
    "name": Cause(_OK),
    "name-malformed": Cause(_ERROR, "Check EMAIL_HOST: a label is empty, too long, or has characters that DNS lacks."),
    "name-unknown": Cause(
        _ERROR,
        "gaierror -2 (Name or service not known): the DNS that was asked says there is no such name. Check EMAIL_HOST "
        "for a typo; a service's name of Docker is known only on that service's network. " + CONTAINER_DNS,
    ),
    "name-without-address": Cause(
        _ERROR,
        "gaierror -5 (No address associated with hostname): the name exists and has no A or AAAA record, or none of a "
        "family this machine has. A mail domain is not its server: look for the host in its MX record or the "
        "provider's manual. " + CONTAINER_DNS,
    ),
    "name-try-again": Cause(
        _ERROR,
        "gaierror -3 (Temporary failure in name resolution): no name server gave an answer. The name may be right; "
        "the way to DNS is not. " + CONTAINER_DNS,
    ),
    "name-look-up-failed": Cause(_ERROR, "The resolver itself failed. " + CONTAINER_DNS),
    "name-look-up-silent": Cause(
        _ERROR, "The look-up did not end in time: the name servers swallow the questions. " + CONTAINER_DNS
    ),
    "name-needs-search-domain": Cause(
        _ERROR,
        "A name without a dot is found only through a `search` domain, a hosts file or a Docker network. Write "
        "EMAIL_HOST in full (mail.example.com), or set the right search domain (`dns_search:` in compose.yaml). "
        + CONTAINER_DNS,
    ),
    "name-from-search-domain": Cause(
        _WARNING,
        "The addresses belong to another host than was meant. Write EMAIL_HOST with a dot at its end, and remove the "
        "search domain (`dns_search: .` in compose.yaml) or its wildcard record.",
    ),
    "name-slow": Cause(
        _WARNING,
        "A healthy DNS needs milliseconds. A dead first name server costs 5 s per question: see name servers above.",
    ),
    "name-is-loopback": Cause(
        _WARNING, "A hosts file or a filtering DNS sends this name to this machine. Look into /etc/hosts."
    ),
    "host-is-this-container": Cause(
        _ERROR,
        "In a container localhost is the container, not its host and not another container. Use the relay's service "
        "name, or `host.docker.internal` (with `extra_hosts: host.docker.internal:host-gateway`).",
    ),
    # -- TCP
    "tcp": Cause(_OK),
    "tcp-refused": Cause(
        _ERROR,
        "The machine is there and nothing listens on that port. Check EMAIL_PORT (587, 465 or 25), whether the server "
        "runs, and whether it listens on more than its own loopback.",
    ),
    "tcp-filtered": Cause(
        _ERROR,
        "Packets vanish: a firewall, a security group, or a provider that blocks SMTP. Outgoing port 25 is blocked in "
        "most clouds and homes: use 587 or 465; otherwise let the port out where this process runs.",
    ),
    "tcp-unreachable": Cause(
        _ERROR,
        "This machine has no route there. In a container: a network with `internal: true` has none; IPv6 needs "
        "`enable_ipv6`. Otherwise check the default route and any EMAIL_SOURCE_ADDRESS.",
    ),
    "tcp-broken": Cause(
        _ERROR, "The connection was reset at once: a firewall or proxy in between answers for the host."
    ),
    "tcp-ipv6-broken": Cause(
        _WARNING,
        "IPv4 works, so mail goes out, a quarter of a second later for each new session. Give this machine working "
        "IPv6, or none: a container's `enable_ipv6`, the host's route.",
    ),
    "tcp-address-down": Cause(
        _WARNING, "Other addresses of the relay answer and are used. If this lasts, tell the relay's operator."
    ),
    "proxy": Cause(_OK),
    "proxy-failed": Cause(
        _ERROR,
        "Check EMAIL_PROXY: its kind (socks5 or http), user name and password, and whether the proxy lets this port "
        "through: many HTTP proxies allow CONNECT to 443 only. The proxy looks up the relay's name itself.",
    ),
    "tcp-slow": Cause(_WARNING, "Seconds to connect mean lost packets or a host at its limits: look at the network."),
}
