"""The outbox's tables. What must always hold is a constraint of the database; what is looked for has a partial index.

A column that matters in one state only is NULL in all others, and the indexes hold what is not NULL: however many mails
have been accepted, a claim sees the waiting ones alone. (MySQL and MariaDB index the NULLs too and say so by
``models.W037``; the ranges that are read there are the same.)
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint

from robust_email.outbox.identifiers import uuid7
from robust_email.outbox.states import FINAL, LEASED, State
from robust_email.smtp.transcript import masked

TEXT_LENGTH = 300
"""Characters kept of a reply or a reason."""


class Priority(models.IntegerChoices):
    """Which lane. A claim empties the first before it looks at the next, so keep the first for what people wait for."""

    HIGH = 1, "high"
    NORMAL = 2, "normal"
    LOW = 3, "low"


class DoubtPolicy(models.TextChoices):
    """What follows when a relay may have a mail and has not said so."""

    RESEND = "resend", "submit the same octets again"
    HOLD = "hold", "wait for a person"


class OutboxMessage(models.Model):
    """One mail and what is known of it. ``services`` changes it, and nothing else does."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField()

    message_id = models.CharField(max_length=255, blank=True)
    """The header's value, cut to 255 characters."""
    reverse_path = models.CharField(max_length=320, blank=True)
    content = models.BinaryField(null=True)
    """The exact octets; NULL where they are in a file, or were removed."""
    content_name = models.CharField(max_length=255, blank=True)
    """The file's name in ``EMAIL_OUTBOX_STORAGE``."""
    content_size = models.PositiveIntegerField()
    sensitive = models.BooleanField(default=False)

    relay = models.CharField(max_length=255)
    """Which relay: ``default``, ``mailer:ALIAS``, ``ref:REFERENCE`` or ``sealed:DIGEST``; see ``relays``."""
    relay_sealed = models.TextField(blank=True, editable=False)
    """The options of a relay of its own, encrypted."""

    kind = models.CharField(max_length=64, blank=True)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.NORMAL)
    in_doubt = models.CharField(max_length=8, choices=DoubtPolicy, default=DoubtPolicy.RESEND)
    dedupe_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - NULLs do not collide
    supersede_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - nor are they indexed
    send_after = models.DateTimeField(null=True, blank=True)
    """Not before; also when a person queued it again. Patience with a relay that is down begins here."""
    expires_at = models.DateTimeField(null=True, blank=True)

    state = models.CharField(max_length=16, choices=State, default=State.QUEUED)
    reason = models.CharField(max_length=TEXT_LENGTH, blank=True)
    """Why it is in this state, in one line: the relay's words, or ours."""
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    """Set while QUEUED, and only then."""
    waits_for_relay = models.BooleanField(default=False)
    """Its relay could not be had; it goes at once when that relay takes a mail again."""
    attempts = models.PositiveIntegerField(default=0)
    """Submissions that ended in a verdict, or died and left a doubt."""
    retries = models.PositiveIntegerField(default=0)
    """How much of the retry schedule is used."""
    doubts = models.PositiveIntegerField(default=0)
    """How often it was in doubt; each of these may have made a double with the same Message-ID."""
    lost_leases = models.PositiveIntegerField(default=0)
    """Workers that gave no sign while they had it."""

    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    """The fencing token: made anew by each claim. Who comes with another one changes nothing."""
    lease_owner = models.CharField(max_length=128, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    traceparent = models.CharField(max_length=55, null=True, blank=True, editable=False)  # noqa: DJ001 - added in no time
    """Where it was written, in the words of W3C Trace Context (see ``tracing``); NULL for nowhere."""

    class Meta:
        """Constraints and indexes."""

        verbose_name = "outbox message"
        permissions: ClassVar = [
            ("view_body", "Can read the bodies of mails"),
            ("view_address", "Can see addresses unmasked"),
            ("operate", "Can resend, cancel and resolve mails, and pause and resume relays"),
        ]
        constraints: ClassVar = [
            CheckConstraint(condition=Q(state__in=list(State)), name="robust_outbox_state_known"),
            CheckConstraint(
                condition=Q(state=State.QUEUED, next_attempt_at__isnull=False)
                | (~Q(state=State.QUEUED) & Q(next_attempt_at__isnull=True)),
                name="robust_outbox_queued_has_time",
            ),
            CheckConstraint(
                condition=Q(state__in=sorted(LEASED), lease_token__isnull=False, lease_until__isnull=False)
                | (~Q(state__in=sorted(LEASED)) & Q(lease_token__isnull=True, lease_until__isnull=True)),
                name="robust_outbox_leased_has_lease",
            ),
            CheckConstraint(
                condition=Q(state__in=sorted(FINAL), finished_at__isnull=False)
                | (~Q(state__in=sorted(FINAL)) & Q(finished_at__isnull=True)),
                name="robust_outbox_final_has_end",
            ),
            UniqueConstraint(fields=["dedupe_key"], name="robust_outbox_dedupe"),
        ]
        indexes: ClassVar = [
            Index(
                fields=["priority", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="robust_outbox_due",
            ),
            Index(
                fields=["relay", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="robust_outbox_relay",
            ),
            Index(fields=["lease_until"], condition=Q(lease_until__isnull=False), name="robust_outbox_lease"),
            Index(
                fields=["expires_at"],
                condition=Q(expires_at__isnull=False, next_attempt_at__isnull=False),
                name="robust_outbox_expiry",
            ),
            Index(
                fields=["supersede_key"],
                condition=Q(supersede_key__isnull=False, next_attempt_at__isnull=False),
                name="robust_outbox_supersede",
            ),
            Index(fields=["state", "finished_at"], condition=Q(finished_at__isnull=False), name="robust_outbox_ended"),
            # By name: db_index would add a second one, for LIKE, which each of a mail's changes would pay for.
            Index(fields=["message_id"], name="robust_outbox_message_id"),
        ]

    def __str__(self) -> str:
        """Say which, without an address."""
        return f"{self.message_id or self.pk} ({self.state})"


class OutboxRecipient(models.Model):
    """One recipient and the one verdict about it."""

    class Standing(models.TextChoices):
        """What is known of one recipient; the words are ``smtp.Disposition``'s."""

        PENDING = "pending"
        ACCEPTED = "accepted"
        DEFERRED = "deferred"
        REFUSED = "refused"
        IN_DOUBT = "in-doubt"

    message = models.ForeignKey(OutboxMessage, on_delete=models.CASCADE, related_name="recipients", db_index=False)
    """Found by the constraint's index, which begins with it."""
    position = models.PositiveIntegerField()
    address = models.CharField(max_length=320)
    standing = models.CharField(max_length=16, choices=Standing, default=Standing.PENDING)
    code = models.PositiveSmallIntegerField(null=True, blank=True)
    enhanced_code = models.CharField(max_length=16, blank=True)
    reason = models.CharField(max_length=TEXT_LENGTH, blank=True)
    """The relay's words, or what happened; empty where accepted."""
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """Each place once."""

        constraints: ClassVar = [
            UniqueConstraint(fields=["message", "position"], name="robust_outbox_recipient_once"),
        ]
        indexes: ClassVar = [Index(fields=["address"], name="robust_outbox_address")]

    def __str__(self) -> str:
        """Say which, masked."""
        return f"{masked(self.address)} ({self.standing})"


class AppendOnly(models.QuerySet["SubmissionAttempt"]):
    """Rows are added and, with their mail, removed; never changed."""

    def update(self, **_: object) -> int:
        """Refuse."""
        raise TypeError("a submission attempt is never changed")

    def bulk_update(self, *_: object, **__: object) -> int:
        """Refuse."""
        raise TypeError("a submission attempt is never changed")


class SubmissionAttempt(models.Model):
    """One attempt that was made: when, where, how far, what the relay said. No secret and no body."""

    message = models.ForeignKey(OutboxMessage, on_delete=models.CASCADE, related_name="submission_attempts")
    ended_at = models.DateTimeField()
    seconds = models.FloatField(default=0.0)
    endpoint = models.CharField(max_length=255, blank=True)
    worker = models.CharField(max_length=128, blank=True)
    phase = models.CharField(max_length=16, blank=True)
    disposition = models.CharField(max_length=16)
    scope = models.CharField(max_length=16, blank=True)
    code = models.PositiveSmallIntegerField(null=True, blank=True)
    enhanced_code = models.CharField(max_length=16, blank=True)
    reply = models.CharField(max_length=TEXT_LENGTH, blank=True)
    """The relay's words (many name their queue id in them), or what happened; addresses are masked."""
    accepted = models.PositiveIntegerField(default=0)
    deferred = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    in_doubt = models.PositiveIntegerField(default=0)

    objects = AppendOnly.as_manager()

    class Meta:
        """In the order they were made."""

        ordering: ClassVar = ["pk"]
        indexes: ClassVar = [Index(fields=["ended_at"], name="robust_outbox_attempt_ended")]

    def __str__(self) -> str:
        """Say what came of it."""
        return f"{self.disposition} at {self.phase} by {self.endpoint}"

    def save(self, **kwargs: Any) -> None:  # noqa: ANN401 - Django's
        """Add; a row that is there is not changed."""
        if not self._state.adding:
            raise TypeError("a submission attempt is never changed")
        super().save(**kwargs)


class SubmissionTally(models.Model):
    """How many attempts of five minutes came to the same, so that no chart counts them; see ``services.tallying``."""

    slice = models.BigIntegerField()
    """Which five minutes, counted from 1970: to be added up by whole numbers, whatever the time zone."""
    relay = models.CharField(max_length=255, blank=True)
    """Empty in the rows that count all relays together, which tell neither phases nor durations apart."""
    disposition = models.CharField(max_length=16)
    phase = models.CharField(max_length=16, blank=True)
    seconds_below = models.FloatField()
    """One of ``tallying.BOUNDS``: they took less than this, and no less than the bound before it."""
    attempts = models.PositiveIntegerField()

    class Meta:
        """Each tally once."""

        constraints: ClassVar = [
            UniqueConstraint(
                fields=["relay", "slice", "disposition", "phase", "seconds_below"], name="robust_outbox_tally_once"
            ),
        ]
        indexes: ClassVar = [Index(fields=["slice"], name="robust_outbox_tally_slice")]

    def __str__(self) -> str:
        """Say what was counted."""
        return f"{self.attempts} attempts {self.disposition} at {self.phase} by {self.relay or 'all relays'}"


class TallyMark(models.Model):
    """The one row that says up to which slice, exclusively, attempts have been tallied."""

    until = models.BigIntegerField()

    def __str__(self) -> str:
        """Say up to where."""
        return f"tallied up to slice {self.until}"


class OutboxRelay(models.Model):
    """A relay that is not asked at present, and when it is asked again. One that works has no row."""

    class Trouble(models.TextChoices):
        """Why not."""

        DOWN = "down"
        """No session can be had: DNS, TCP, TLS, or a greeting that says no."""
        MISCONFIGURED = "misconfigured"
        """It refuses our configuration. A person has to act."""
        PAUSED = "paused"
        """A person wants it to be left alone, and only a person or the time ends that."""

    name = models.CharField(max_length=255, primary_key=True)
    trouble = models.CharField(max_length=16, choices=Trouble)
    since = models.DateTimeField()
    failures = models.PositiveIntegerField(default=1)
    ask_again_at = models.DateTimeField()
    reason = models.CharField(max_length=TEXT_LENGTH, blank=True)
    endpoint = models.CharField(max_length=255, blank=True)

    class Meta:
        """Never asked before its trouble began."""

        verbose_name_plural = "relays and dashboard"
        constraints: ClassVar = [
            CheckConstraint(condition=Q(ask_again_at__gte=F("since")), name="robust_outbox_relay_times"),
        ]

    def __str__(self) -> str:
        """Say what is wrong."""
        return f"{self.name} is {self.trouble}: {self.reason}"

    @property
    def is_returning(self) -> bool:
        """It has answered, or was resumed, and the mail that waits for it is being let go: the row ends with that."""
        return self.ask_again_at == self.since
