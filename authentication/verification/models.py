"""A code that was mailed to a customer, and what became of the mail."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from authentication.core.models import User
from authentication.verification import codes


class Purpose(models.TextChoices):
    """What a code is good for; a code for one is worth nothing for the other."""

    VERIFY_EMAIL = "verify-email"
    RESET_PASSWORD = "reset-password"  # noqa: S105 - the name of a purpose


class MailState(models.TextChoices):
    """What is known of the mail. Only ``WAITING`` may be tried (again)."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    """The relay took responsibility. Whether a person has read it, nobody knows."""
    REFUSED = "refused"
    """Refused for good: by the relay, or because of a mistake that trying again cannot mend."""
    GIVEN_UP = "given-up"
    """Deferred until the last retry."""
    IN_DOUBT = "in-doubt"
    """The retries are used up, and at least one attempt may have been taken without an answer."""


class VerificationCode(models.Model):
    """One code, the mail that carries it, and the mail's place in the retry schedule.

    The row is the truth about the mail and Celery only its timer: a task that comes too early, twice or never changes
    nothing. ``mail_due_at`` is when the next attempt may begin; while an attempt runs it lies in the future.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="verification_codes")
    purpose = models.CharField(max_length=16, choices=Purpose.choices)
    nonce = models.CharField(max_length=32, default=codes.new_nonce)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    guesses = models.PositiveSmallIntegerField(default=0)
    ended_at = models.DateTimeField(null=True, blank=True)
    """When it was used, or replaced by a newer one."""

    mail_state = models.CharField(max_length=16, choices=MailState.choices, default=MailState.WAITING)
    mail_attempts = models.PositiveSmallIntegerField(default=0)
    mail_due_at = models.DateTimeField(default=timezone.now)
    mail_may_have_arrived = models.BooleanField(default=False)
    """An attempt ended in doubt."""

    class Meta:
        """At most one code of a purpose can be used; waiting mails are found without reading the others."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "purpose"], condition=models.Q(ended_at=None), name="one_live_code_per_purpose"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["mail_due_at"], condition=models.Q(mail_state="waiting"), name="waiting_mails"),
        ]

    def __str__(self) -> str:
        """Purpose and number, never the code."""
        return f"{self.purpose} code {self.pk}"

    @property
    def code(self) -> str:
        """The secret itself, derived anew each time."""
        return codes.derive_code(purpose=self.purpose, user_id=self.user_id, nonce=self.nonce)
