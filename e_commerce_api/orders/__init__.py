"""Orders, as far as their mail needs them: proof that the outbox is for more than codes."""
