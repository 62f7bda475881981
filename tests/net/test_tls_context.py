"""TLS contexts: verified whatever is configured, shared, and renewed with their files."""

from __future__ import annotations

import os
import shutil
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from robust_email.smtp.config import TlsMode, TlsPolicy
from robust_email.smtp.failure import FailureKind, SessionFailure
from robust_email.smtp.net.tls import context_for
from robust_email.smtp.phases import Phase

if TYPE_CHECKING:
    from pathlib import Path

    from robust_email.testing.certs import CertificateAuthority


def policy_of(
    ca: Path | str | None = None, certificate: Path | str | None = None, key: Path | str | None = None
) -> TlsPolicy:
    """Make a policy of paths."""
    files = (str(path) if path is not None else None for path in (ca, certificate, key))
    return TlsPolicy(TlsMode.STARTTLS, *files)


def test_nothing_is_left_unverified(certs: CertificateAuthority) -> None:
    """Certificate, host name, no common name, TLS 1.2: none of them can be configured away."""
    for policy in (policy_of(), policy_of(certs.ca_file)):
        context = context_for(policy)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert not context.hostname_checks_common_name
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_ca_file_replaces_the_system_s(certs: CertificateAuthority) -> None:
    """Who names an authority trusts that one alone."""
    assert len(context_for(policy_of(certs.ca_file)).get_ca_certs()) == 1


def test_equal_policies_share_a_context(certs: CertificateAuthority) -> None:
    """Building one costs 38 ms of CPU; the mode does not matter to it."""
    first = context_for(policy_of(certs.ca_file))
    assert context_for(policy_of(certs.ca_file)) is first
    assert context_for(TlsPolicy(TlsMode.IMPLICIT, cafile=str(certs.ca_file))) is first
    assert context_for(policy_of()) is not first


def test_a_rotated_certificate_is_noticed(certs: CertificateAuthority, tmp_path: Path) -> None:
    """A renewed file is used by the next session, without a restart."""
    chain, key = certs.files()
    mine = shutil.copy(chain, tmp_path / "mine.pem"), shutil.copy(key, tmp_path / "mine.key")
    policy = policy_of(certs.ca_file, *mine)
    first = context_for(policy)
    assert context_for(policy) is first
    for new, old in zip(certs.files(), mine, strict=True):
        staged = shutil.copy(new, tmp_path / "staged")
        os.replace(staged, old)  # noqa: PTH105 - the rename that certbot and Kubernetes do
    assert context_for(policy) is not first


def test_unusable_files_are_our_own_mistake_in_words(certs: CertificateAuthority, tmp_path: Path) -> None:
    """Missing, no PEM, another's key: the setting is named, the cause kept, and nobody retries."""
    chain, key = certs.files()
    _, others_key = certs.files()
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    cases = [
        (policy_of(tmp_path / "missing.pem"), "EMAIL_SSL_CAFILE.*missing.pem.*No such file"),
        (policy_of(garbage), "EMAIL_SSL_CAFILE.*no usable PEM"),
        (policy_of(tmp_path), "EMAIL_SSL_CAFILE"),
        (policy_of(None, tmp_path / "missing.pem"), "EMAIL_SSL_CERTFILE.*No such file"),
        (policy_of(None, chain), "EMAIL_SSL_CERTFILE.*no usable PEM"),
        (policy_of(None, chain, others_key), "the key is not the certificate's"),
        (policy_of(None, garbage, key), "no usable PEM"),
    ]
    for policy, words in cases:
        with pytest.raises(SessionFailure, match=words) as caught:
            context_for(policy)
        assert caught.value.failure.kind is FailureKind.LOCAL
        assert caught.value.failure.phase is Phase.TLS
        assert isinstance(caught.value.__cause__, OSError)


def test_an_encrypted_key_is_refused_instead_of_asked_for(certs: CertificateAuthority, tmp_path: Path) -> None:
    """OpenSSL would ask for the passphrase on a terminal, and the worker would hang there."""
    chain, key = certs.files()
    loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(SessionFailure, match="without a passphrase"):
        context_for(policy_of(None, chain, encrypted))


def test_threads_may_ask_at_once(certs: CertificateAuthority) -> None:
    """Whoever comes while it is being built gets a context all the same."""
    chain, key = certs.files()
    policy, found = policy_of(certs.ca_file, chain, key), []
    threads = [threading.Thread(target=lambda: found.append(context_for(policy))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
