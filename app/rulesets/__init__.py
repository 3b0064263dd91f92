"""Where rules come from: the settings, and files of other programs."""
