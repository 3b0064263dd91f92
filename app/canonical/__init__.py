"""The vendor-neutral model of a conversation (pure)."""
