"""The trace that a mail belongs to travels in its row. NULL, so that no row is rewritten and older code can go on."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("robust_email_outbox", "0002_dashboard"),
    ]

    operations = [
        migrations.AddField(
            model_name="outboxmessage",
            name="traceparent",
            field=models.CharField(blank=True, editable=False, max_length=55, null=True),
        ),
    ]
