"""Who gets no mail, and why. ``services`` changes it, ``retention`` removes it in time, and nothing else does."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Index

from robust_email.smtp.transcript import masked

TEXT_LENGTH = 300
"""Characters kept of a reply or a remark."""


class Reason(models.TextChoices):
    """Why."""

    REFUSED = "refused", "refused for good"
    COMPLAINT = "complaint", "complained"
    PERSON = "person", "a person's decision"


class Source(models.TextChoices):
    """Who said so."""

    RELAY = "relay", "the relay's reply"
    REPORT = "report", "a delivery status notification"
    FEEDBACK = "feedback", "a complaint by feedback loop"
    PERSON = "person", "a person"


class Effect(models.TextChoices):
    """What followed."""

    SUPPRESSED = "suppressed"
    NOTHING = "nothing", "nothing, by policy"
    LIFTED = "lifted"


class SuppressedAddress(models.Model):
    """An address that the outbox offers no mail for, until ``expires_at`` (NULL: until a person lifts it)."""

    digest = models.CharField(max_length=64, unique=True, editable=False)
    """SHA-256 of the canonical address: what is looked for. It stays where ``address`` has to be erased."""
    address = models.CharField(max_length=320, blank=True)
    """The canonical form; empty where its owner wanted it to be forgotten."""
    reason = models.CharField(max_length=16, choices=Reason)
    source = models.CharField(max_length=16, choices=Source)
    status = models.CharField(max_length=16, blank=True)
    """The enhanced status code, or the reply code where there was none."""
    created_at = models.DateTimeField()
    """When it was first suppressed, by this row."""
    expires_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[SuppressedAddress]] = models.Manager()

    class Meta:
        """Found by digest; listed by time."""

        verbose_name = "suppressed address"
        verbose_name_plural = "suppressed addresses"
        permissions: ClassVar = [("view_address", "Can see addresses unmasked")]
        indexes: ClassVar = [Index(fields=["created_at"], name="robust_suppr_created")]

    def __str__(self) -> str:
        """Say which, masked."""
        return f"{masked(self.address) or self.digest[:12]} ({' '.join(filter(None, (self.reason, self.status)))})"


class EvidenceIsKept(models.QuerySet["SuppressionEvidence"]):
    """Rows are added, and never changed."""

    def update(self, **_: object) -> int:
        """Refuse."""
        raise TypeError("evidence is never changed")

    def bulk_update(self, *_: object, **__: object) -> int:
        """Refuse."""
        raise TypeError("evidence is never changed")


class SuppressionEvidence(models.Model):
    """One thing that was said about an address, and what followed. It outlives the suppression; it holds no address.

    Never changed; removed in time, see ``retention``.
    """

    fingerprint = models.CharField(max_length=64, unique=True, editable=False)
    """The same report read twice is one piece of evidence."""
    digest = models.CharField(max_length=64)
    noted_at = models.DateTimeField()
    source = models.CharField(max_length=16, choices=Source)
    effect = models.CharField(max_length=16, choices=Effect)
    status = models.CharField(max_length=16, blank=True)
    message_id = models.CharField(max_length=255, blank=True)
    """Of the mail that it is about."""
    detail = models.CharField(max_length=TEXT_LENGTH, blank=True)
    """The relay's words or a person's; addresses are masked."""

    objects = EvidenceIsKept.as_manager()

    class Meta:
        """In the order it came."""

        verbose_name_plural = "suppression evidence"
        ordering: ClassVar = ["pk"]
        indexes: ClassVar = [Index(fields=["digest"], name="robust_suppr_digest")]

    def __str__(self) -> str:
        """Say what it says."""
        return f"{self.source}: {self.status or self.detail} ({self.effect})"

    def save(self, **kwargs: Any) -> None:  # noqa: ANN401 - Django's
        """Add; a row that is there is not changed."""
        if not self._state.adding:
            raise TypeError("evidence is never changed")
        super().save(**kwargs)
