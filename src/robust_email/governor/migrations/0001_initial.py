"""The table."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="SharedValue",
            fields=[
                ("key", models.CharField(max_length=190, primary_key=True, serialize=False)),
                ("text", models.TextField()),
                ("digest", models.CharField(max_length=40)),
                ("forget_at", models.FloatField()),
            ],
            options={"db_table": "robust_email_governor"},
        ),
    ]
