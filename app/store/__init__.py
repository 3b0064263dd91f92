"""Tables in SQLite or PostgreSQL; the only room that knows SQLAlchemy.

Importing its files costs a tenth of a second, so ``opening`` does that after the port listens, on
an executor's thread, and all calls come from such threads. ``opening`` itself imports none of it.
"""
