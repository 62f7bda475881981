"""``outbox_drain``, ``outbox_status`` and what operators need."""
