"""What each request cost, and why it went where it went."""
