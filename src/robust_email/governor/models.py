"""What workers share about a relay: a few rows, changed by compare-and-swap."""

from __future__ import annotations

from typing import Final

from django.db import models

TABLE: Final = "robust_email_governor"


class SharedValue(models.Model):
    """A value of ``smtp.governor``. No address and no secret is in it."""

    key = models.CharField(max_length=190, primary_key=True)
    text = models.TextField()
    digest = models.CharField(max_length=40)
    """SHA-1 of ``text``: what a swap compares, since not every database compares long texts, or their case."""
    forget_at = models.FloatField()
    """Seconds since 1970, by the database's clock."""

    class Meta:
        """The table is written by ``store`` alone."""

        db_table = TABLE

    def __str__(self) -> str:
        """Name it by its key."""
        return self.key
