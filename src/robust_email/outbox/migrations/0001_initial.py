"""Messages, recipients, attempts, and relays in trouble."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import robust_email.outbox.identifiers


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="OutboxMessage",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=robust_email.outbox.identifiers.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("message_id", models.CharField(blank=True, db_index=True, max_length=255)),
                ("reverse_path", models.CharField(blank=True, max_length=320)),
                ("content", models.BinaryField(null=True)),
                ("content_name", models.CharField(blank=True, max_length=255)),
                ("content_size", models.PositiveIntegerField()),
                ("sensitive", models.BooleanField(default=False)),
                ("relay", models.CharField(max_length=255)),
                ("relay_sealed", models.TextField(blank=True, editable=False)),
                ("kind", models.CharField(blank=True, max_length=64)),
                (
                    "priority",
                    models.PositiveSmallIntegerField(choices=[(1, "high"), (2, "normal"), (3, "low")], default=2),
                ),
                (
                    "in_doubt",
                    models.CharField(
                        choices=[("resend", "submit the same octets again"), ("hold", "wait for a person")],
                        default="resend",
                        max_length=8,
                    ),
                ),
                ("dedupe_key", models.CharField(blank=True, max_length=200, null=True)),
                ("supersede_key", models.CharField(blank=True, max_length=200, null=True)),
                ("send_after", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("claimed", "Claimed"),
                            ("data-started", "Data Started"),
                            ("accepted", "Accepted"),
                            ("partly", "Partly"),
                            ("refused", "Refused"),
                            ("dead", "Dead"),
                            ("in-doubt", "In Doubt"),
                            ("expired", "Expired"),
                            ("cancelled", "Cancelled"),
                            ("superseded", "Superseded"),
                        ],
                        default="queued",
                        max_length=16,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True)),
                ("waits_for_relay", models.BooleanField(default=False)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("retries", models.PositiveIntegerField(default=0)),
                ("doubts", models.PositiveIntegerField(default=0)),
                ("lost_leases", models.PositiveIntegerField(default=0)),
                ("lease_token", models.UUIDField(blank=True, editable=False, null=True)),
                ("lease_owner", models.CharField(blank=True, editable=False, max_length=128)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "outbox message",
                "permissions": [("view_body", "Can read the bodies of mails")],
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_attempt_at__isnull", False)),
                        fields=["priority", "next_attempt_at"],
                        name="robust_outbox_due",
                    ),
                    models.Index(
                        condition=models.Q(("next_attempt_at__isnull", False)),
                        fields=["relay", "next_attempt_at"],
                        name="robust_outbox_relay",
                    ),
                    models.Index(
                        condition=models.Q(("lease_until__isnull", False)),
                        fields=["lease_until"],
                        name="robust_outbox_lease",
                    ),
                    models.Index(
                        condition=models.Q(("expires_at__isnull", False), ("next_attempt_at__isnull", False)),
                        fields=["expires_at"],
                        name="robust_outbox_expiry",
                    ),
                    models.Index(
                        condition=models.Q(("next_attempt_at__isnull", False), ("supersede_key__isnull", False)),
                        fields=["supersede_key"],
                        name="robust_outbox_supersede",
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", False)),
                        fields=["state", "finished_at"],
                        name="robust_outbox_ended",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    "queued",
                                    "claimed",
                                    "data-started",
                                    "accepted",
                                    "partly",
                                    "refused",
                                    "dead",
                                    "in-doubt",
                                    "expired",
                                    "cancelled",
                                    "superseded",
                                ],
                            )
                        ),
                        name="robust_outbox_state_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("next_attempt_at__isnull", False), ("state", "queued")),
                            models.Q(models.Q(("state", "queued"), _negated=True), ("next_attempt_at__isnull", True)),
                            _connector="OR",
                        ),
                        name="robust_outbox_queued_has_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("lease_token__isnull", False),
                                ("lease_until__isnull", False),
                                ("state__in", ["claimed", "data-started"]),
                            ),
                            models.Q(
                                models.Q(("state__in", ["claimed", "data-started"]), _negated=True),
                                ("lease_token__isnull", True),
                                ("lease_until__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="robust_outbox_leased_has_lease",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("finished_at__isnull", False),
                                (
                                    "state__in",
                                    [
                                        "accepted",
                                        "cancelled",
                                        "dead",
                                        "expired",
                                        "in-doubt",
                                        "partly",
                                        "refused",
                                        "superseded",
                                    ],
                                ),
                            ),
                            models.Q(
                                models.Q(
                                    (
                                        "state__in",
                                        [
                                            "accepted",
                                            "cancelled",
                                            "dead",
                                            "expired",
                                            "in-doubt",
                                            "partly",
                                            "refused",
                                            "superseded",
                                        ],
                                    ),
                                    _negated=True,
                                ),
                                ("finished_at__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="robust_outbox_final_has_end",
                    ),
                    models.UniqueConstraint(fields=("dedupe_key",), name="robust_outbox_dedupe"),
                ],
            },
        ),
        migrations.CreateModel(
            name="OutboxRelay",
            fields=[
                ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
                (
                    "trouble",
                    models.CharField(choices=[("down", "Down"), ("misconfigured", "Misconfigured")], max_length=16),
                ),
                ("since", models.DateTimeField()),
                ("failures", models.PositiveIntegerField(default=1)),
                ("ask_again_at", models.DateTimeField()),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("endpoint", models.CharField(blank=True, max_length=255)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ask_again_at__gte", models.F("since"))), name="robust_outbox_relay_times"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SubmissionAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ended_at", models.DateTimeField()),
                ("seconds", models.FloatField(default=0.0)),
                ("endpoint", models.CharField(blank=True, max_length=255)),
                ("worker", models.CharField(blank=True, max_length=128)),
                ("phase", models.CharField(blank=True, max_length=16)),
                ("disposition", models.CharField(max_length=16)),
                ("scope", models.CharField(blank=True, max_length=16)),
                ("code", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("enhanced_code", models.CharField(blank=True, max_length=16)),
                ("reply", models.CharField(blank=True, max_length=300)),
                ("accepted", models.PositiveIntegerField(default=0)),
                ("deferred", models.PositiveIntegerField(default=0)),
                ("refused", models.PositiveIntegerField(default=0)),
                ("in_doubt", models.PositiveIntegerField(default=0)),
                (
                    "message",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="submission_attempts",
                        to="robust_email_outbox.outboxmessage",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="OutboxRecipient",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("address", models.CharField(db_index=True, max_length=320)),
                (
                    "standing",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("accepted", "Accepted"),
                            ("deferred", "Deferred"),
                            ("refused", "Refused"),
                            ("in-doubt", "In Doubt"),
                        ],
                        default="pending",
                        max_length=16,
                    ),
                ),
                ("code", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("enhanced_code", models.CharField(blank=True, max_length=16)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "message",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="recipients",
                        to="robust_email_outbox.outboxmessage",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("message", "position"), name="robust_outbox_recipient_once")
                ],
            },
        ),
    ]
