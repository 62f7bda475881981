"""``email_bounces`` and ``suppression_purge``."""
