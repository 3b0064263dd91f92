"""The user's accounts and what happens to them."""
