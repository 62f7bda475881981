"""Codes of TLS, by STARTTLS or from the first octet."""

from __future__ import annotations

from typing import Final

from robust_email.doctor.causes.cause import Cause
from robust_email.doctor.findings import Severity

_OK, _INFO, _WARNING, _ERROR = Severity.OK, Severity.INFO, Severity.WARNING, Severity.ERROR

ENCRYPTION: Final = {
    "tls": Cause(_OK),
    "tls-none": Cause(_INFO, "Fine on one machine or a private network; else EMAIL_USE_TLS or EMAIL_USE_SSL."),
    "tls-available-unused": Cause(
        _WARNING, "The server offers STARTTLS and mail crosses the network in clear. Set EMAIL_USE_TLS = True."
    ),
    "port-speaks-tls": Cause(
        _ERROR,
        "This port expects TLS from the first octet, and a client that waits for a greeting waits for ever. Set "
        "EMAIL_USE_SSL = True and EMAIL_USE_TLS = False (URL: smtps://), or use port 587 with EMAIL_USE_TLS.",
    ),
    "port-speaks-plain": Cause(
        _ERROR,
        "This port begins in clear and TLS was expected from the first octet. Set EMAIL_USE_TLS = True and "
        "EMAIL_USE_SSL = False (URL: smtp+starttls://), or use port 465 with EMAIL_USE_SSL.",
    ),
    "tls-files-unusable": Cause(
        _ERROR, "Correct EMAIL_SSL_CAFILE, EMAIL_SSL_CERTFILE or EMAIL_SSL_KEYFILE: PEM, readable by this process."
    ),
    "tls-too-old": Cause(
        _ERROR,
        "The server has TLS 1.1 or older only, which is not safe (RFC 8996); the minimum here is TLS 1.2. Its operator "
        "must update it; until then use another relay.",
    ),
    "tls-no-common-cipher": Cause(
        _ERROR, "Server and client have no cipher in common, or the server wants a client certificate."
    ),
    "tls-client-certificate-required": Cause(
        _ERROR, "The server asks who we are: set EMAIL_SSL_CERTFILE (and EMAIL_SSL_KEYFILE) to a certificate it trusts."
    ),
    "tls-silent": Cause(
        _ERROR,
        "The handshake began and was not answered: often a path that drops large packets (MTU; in containers and VPNs "
        "set the network's `com.docker.network.driver.mtu`), or a firewall that inspects TLS.",
    ),
    "tls-closed": Cause(
        _ERROR,
        "The server ended the connection during the handshake. Its log has the reason: a missing key file, most often.",
    ),
    "tls-failed": Cause(_ERROR, "The server or something in between does not keep to TLS; its log says more."),
    "certificate-expired": Cause(
        _ERROR, "The server's operator must renew it and reload the server; or this machine's clock is wrong."
    ),
    "certificate-not-yet-valid": Cause(
        _ERROR, "Check this machine's clock (a container has its host's), then the server's."
    ),
    "certificate-wrong-host": Cause(
        _ERROR, "EMAIL_HOST must be a name that the certificate carries, not an alias or an address of the server."
    ),
    "certificate-self-signed": Cause(
        _ERROR,
        "If that server is yours, name its certificate in EMAIL_SSL_CAFILE. If it is not, somebody is in between.",
    ),
    "certificate-unknown-authority": Cause(
        _ERROR,
        "Name the authority's certificate in EMAIL_SSL_CAFILE if it is your own; in a slim image install "
        "`ca-certificates`. If the authority is a public one, the server does not send its intermediate certificate: "
        "its operator must configure the full chain (fullchain.pem).",
    ),
    "certificate-incomplete-chain": Cause(
        _ERROR,
        "The server sends its own certificate without the intermediate one that leads to a known authority. Its "
        "operator must configure the full chain (fullchain.pem); EMAIL_SSL_CAFILE can hold the intermediate meanwhile.",
    ),
    "certificate-refused": Cause(_ERROR, "The certificate did not pass verification; see OpenSSL's words."),
    "certificate-expiring": Cause(
        _WARNING,
        "Mail ends on that day. Renewal should have happened by now: see whether it is automatic, and reloaded.",
    ),
    "starttls-missing": Cause(
        _ERROR,
        "Nothing was sent in clear instead. Look for the port with TLS (587, or 465 with EMAIL_USE_SSL); on a private "
        "relay switch TLS on, or, only on a network you trust, set EMAIL_USE_TLS = False.",
    ),
    "starttls-stripped": Cause(
        _ERROR,
        "A firewall rewrites the dialogue (Cisco's `inspect esmtp` does) and takes STARTTLS out. Switch that off, or "
        "use port 465 with EMAIL_USE_SSL, which it cannot read.",
    ),
    "starttls-refused": Cause(
        _ERROR, "The server offers TLS and cannot do it now (454: no certificate or key). Its operator must look."
    ),
    "starttls-injected": Cause(
        _ERROR, "Octets in clear came behind the reply to STARTTLS: somebody injects commands, or the server is broken."
    ),
}
