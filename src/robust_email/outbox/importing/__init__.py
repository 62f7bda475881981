"""Mail that waits in another package's tables, moved into the outbox: ``manage.py outbox_import``."""
