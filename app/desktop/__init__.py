"""The tray icon, its menu, windows and notifications.

Only this folder imports GUI libraries, and only when they are used: the proxy runs without any of
them, and never waits for what is here.
"""
