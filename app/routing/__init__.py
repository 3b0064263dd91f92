"""From a model name to an account (pure)."""
