"""What `build.py` builds, one kind of package a file."""
