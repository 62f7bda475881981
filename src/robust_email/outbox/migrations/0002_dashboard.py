"""Tallies for the dashboard, relays that a person paused, and permissions for what operators may do and see."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("robust_email_outbox", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="SubmissionTally",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slice", models.BigIntegerField()),
                ("relay", models.CharField(blank=True, max_length=255)),
                ("disposition", models.CharField(max_length=16)),
                ("phase", models.CharField(blank=True, max_length=16)),
                ("seconds_below", models.FloatField()),
                ("attempts", models.PositiveIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="TallyMark",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("until", models.BigIntegerField()),
            ],
        ),
        migrations.AlterModelOptions(
            name="outboxmessage",
            options={
                "permissions": [
                    ("view_body", "Can read the bodies of mails"),
                    ("view_address", "Can see addresses unmasked"),
                    ("operate", "Can resend, cancel and resolve mails, and pause and resume relays"),
                ],
                "verbose_name": "outbox message",
            },
        ),
        migrations.AlterModelOptions(
            name="outboxrelay",
            options={"verbose_name_plural": "relays and dashboard"},
        ),
        migrations.AlterField(
            model_name="outboxrelay",
            name="trouble",
            field=models.CharField(
                choices=[("down", "Down"), ("misconfigured", "Misconfigured"), ("paused", "Paused")], max_length=16
            ),
        ),
        migrations.AddIndex(
            model_name="submissionattempt",
            index=models.Index(fields=["ended_at"], name="robust_outbox_attempt_ended"),
        ),
        migrations.AddIndex(
            model_name="submissiontally",
            index=models.Index(fields=["slice"], name="robust_outbox_tally_slice"),
        ),
        migrations.AddConstraint(
            model_name="submissiontally",
            constraint=models.UniqueConstraint(
                fields=("relay", "slice", "disposition", "phase", "seconds_below"), name="robust_outbox_tally_once"
            ),
        ),
    ]
