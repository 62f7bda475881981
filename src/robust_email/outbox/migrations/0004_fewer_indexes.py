"""Indexes by name: no second ones for LIKE, and none on what a constraint's index begins with."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("robust_email_outbox", "0003_traceparent"),
    ]

    operations = [
        migrations.AlterField(
            model_name="outboxmessage",
            name="message_id",
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AddIndex(
            model_name="outboxmessage",
            index=models.Index(fields=["message_id"], name="robust_outbox_message_id"),
        ),
        migrations.AlterField(
            model_name="outboxrecipient",
            name="address",
            field=models.CharField(max_length=320),
        ),
        migrations.AddIndex(
            model_name="outboxrecipient",
            index=models.Index(fields=["address"], name="robust_outbox_address"),
        ),
        migrations.AlterField(
            model_name="outboxrecipient",
            name="message",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="recipients",
                to="robust_email_outbox.outboxmessage",
            ),
        ),
    ]
