"""A throw-away certificate authority, with every certificate that a client must refuse and one that it must not.

Needs ``trustme`` (``pip install django-robust-email[testing]``). Keys live in the folder given, and nowhere else.
"""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import ssl
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

try:
    import trustme
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID
except ImportError as error:
    raise ImportError("robust_email.testing.certs needs trustme: pip install 'django-robust-email[testing]'") from error

_LOCAL = ("localhost", "127.0.0.1", "::1")
_DAY = dt.timedelta(days=1)


class Certificate(enum.Enum):
    """What a server shows."""

    GOOD = "good"
    """For localhost, 127.0.0.1 and ::1, or for the hosts asked for."""
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    WRONG_HOST = "wrong host"
    """Signed by the authority, for elsewhere.test."""
    CN_ONLY = "common name only"
    """localhost as common name, no subject alternative name: refused since RFC 6125."""
    SELF_SIGNED = "self-signed"
    UNKNOWN_CA = "unknown authority"
    """Like GOOD, from an authority that nobody trusts."""


class CertificateAuthority:
    """An authority that exists as long as a test run."""

    def __init__(self, folder: Path) -> None:
        """Make the authority and write its certificate to ``folder``, which exists."""
        self._folder = folder
        self._numbers = itertools.count(1)
        self._authority = trustme.CA(organization_name="robust-email tests")
        self._stranger = trustme.CA(organization_name="somebody else")
        self.ca_file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def server_context(
        self,
        certificate: Certificate = Certificate.GOOD,
        *hosts: str,
        minimum: ssl.TLSVersion | None = None,
        maximum: ssl.TLSVersion | None = None,
        verify_client: bool = False,
    ) -> ssl.SSLContext:
        """Return a server-side context that shows the certificate.

        ``minimum`` and ``maximum`` bound the TLS version; below 1.2 they lower OpenSSL's security level to 0, without
        which there is no TLS 1.1. ``verify_client`` demands a certificate of this authority from the client.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chain, key = self.files(certificate, *hosts)
        context.load_cert_chain(chain, key)
        oldest = min((each for each in (minimum, maximum) if each is not None), default=ssl.TLSVersion.TLSv1_2)
        if oldest < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings():
            # ssl deprecates the old versions, and an old server is what the test is about.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = min(oldest, ssl.TLSVersion.TLSv1_2) if minimum is None else minimum
            if maximum is not None:
                context.maximum_version = maximum
        if verify_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca_file)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client-side context that trusts this authority alone and checks the host name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Python still takes the common name where there are no alternative names; RFC 9525 6.3 does not.
        context.hostname_checks_common_name = False
        context.load_verify_locations(self.ca_file)
        return context

    def files(self, certificate: Certificate = Certificate.GOOD, *hosts: str) -> tuple[Path, Path]:
        """Write a certificate (with its chain) and its key as PEM files and return their paths.

        The server's for ``hosts``; a client certificate is a ``GOOD`` one as well.
        """
        stem = f"{certificate.name.lower()}-{next(self._numbers)}"
        chain, key = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        chain_pem, key_pem = self._make(certificate, hosts or _LOCAL)
        chain.write_bytes(chain_pem)
        key.touch(mode=0o600)
        key.write_bytes(key_pem)
        return chain, key

    def _make(self, certificate: Certificate, hosts: tuple[str, ...]) -> tuple[bytes, bytes]:
        now = dt.datetime.now(dt.UTC)
        match certificate:
            case Certificate.EXPIRED:
                issued = self._authority.issue_cert(*hosts, not_before=now - 2 * _DAY, not_after=now - _DAY)
            case Certificate.NOT_YET_VALID:
                issued = self._authority.issue_cert(*hosts, not_before=now + _DAY, not_after=now + 2 * _DAY)
            case Certificate.WRONG_HOST:
                issued = self._authority.issue_cert("elsewhere.test")
            case Certificate.UNKNOWN_CA:
                issued = self._stranger.issue_cert(*hosts)
            case Certificate.CN_ONLY:
                return _by_hand(hosts[0], self._authority)
            case Certificate.SELF_SIGNED:
                return _by_hand(hosts[0], None, *hosts)
            case Certificate.GOOD:
                issued = self._authority.issue_cert(*hosts)
        return b"".join(pem.bytes() for pem in issued.cert_chain_pems), issued.private_key_pem.bytes()


def _by_hand(common_name: str, issuer: trustme.CA | None, *names: str) -> tuple[bytes, bytes]:
    """Make what trustme does not: a certificate without alternative names, or one that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )
    dns_names = [x509.DNSName(name) for name in names if name.replace("-", "").replace(".", "").isalpha()]
    if dns_names:
        builder = builder.add_extension(x509.SubjectAlternativeName(dns_names), critical=False)
    if issuer is None:
        signed = builder.issuer_name(subject).sign(key, hashes.SHA256())
    else:
        authority = x509.load_pem_x509_certificate(issuer.cert_pem.bytes())
        authority_key = serialization.load_pem_private_key(issuer.private_key_pem.bytes(), password=None)
        if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
            raise TypeError("trustme has changed the kind of its keys")
        # Python 3.13 verifies strictly, and would refuse a certificate without it for that reason alone.
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        builder = builder.add_extension(issuer_key, critical=False)
        signed = builder.issuer_name(authority.subject).sign(authority_key, hashes.SHA256())
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return signed.public_bytes(serialization.Encoding.PEM), key_pem
