"""Tables in SQLite or PostgreSQL; the only room that knows SQLAlchemy.

Importing it costs a tenth of a second, so ``service`` does that after the port listens, on an
executor's thread, and calls everything here from such threads.
"""

from app.store.database import Database
from app.store.keys import Keys

__all__ = ["Database", "Keys"]
