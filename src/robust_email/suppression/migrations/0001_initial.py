"""Suppressed addresses, and the evidence."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="SuppressedAddress",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("address", models.CharField(blank=True, max_length=320)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("refused", "refused for good"),
                            ("complaint", "complained"),
                            ("person", "a person's decision"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("relay", "the relay's reply"),
                            ("report", "a delivery status notification"),
                            ("feedback", "a complaint by feedback loop"),
                            ("person", "a person"),
                        ],
                        max_length=16,
                    ),
                ),
                ("status", models.CharField(blank=True, max_length=16)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "suppressed address",
                "verbose_name_plural": "suppressed addresses",
                "permissions": [("view_address", "Can see addresses unmasked")],
                "indexes": [models.Index(fields=["created_at"], name="robust_suppr_created")],
            },
        ),
        migrations.CreateModel(
            name="SuppressionEvidence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.CharField(editable=False, max_length=64, unique=True)),
                ("digest", models.CharField(max_length=64)),
                ("noted_at", models.DateTimeField()),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("relay", "the relay's reply"),
                            ("report", "a delivery status notification"),
                            ("feedback", "a complaint by feedback loop"),
                            ("person", "a person"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "effect",
                    models.CharField(
                        choices=[("suppressed", "Suppressed"), ("nothing", "nothing, by policy"), ("lifted", "Lifted")],
                        max_length=16,
                    ),
                ),
                ("status", models.CharField(blank=True, max_length=16)),
                ("message_id", models.CharField(blank=True, max_length=255)),
                ("detail", models.CharField(blank=True, max_length=300)),
            ],
            options={
                "verbose_name_plural": "suppression evidence",
                "ordering": ["pk"],
                "indexes": [models.Index(fields=["digest"], name="robust_suppr_digest")],
            },
        ),
    ]
