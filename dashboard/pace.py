"""How often open pages draw themselves again, and how long what they read is kept, in seconds.

All follows from one number, the time between two drawings of a table: `kwise dashboard serve --refresh`. A store
publishes at most twice a second; however many people watch, it is read no more often than that.
"""

from __future__ import annotations

import os
from typing import Final

REFRESH_VARIABLE: Final = "KWISE_REFRESH"
DEFAULT_REFRESH: Final = 1.0

TABLE_EVERY: Final = float(os.environ.get(REFRESH_VARIABLE) or DEFAULT_REFRESH)
CHART_EVERY: Final = 5.0 * TABLE_EVERY
"""Charts, and tables that take a query or a fit: dearer, and nobody sees a trend change within a second."""
MADE_EVERY: Final = 30.0 * TABLE_EVERY
"""Pictures: new ones come with votes on one model, and each is loaded."""
KEPT: Final = 0.4 * TABLE_EVERY
KEPT_DEAR: Final = 4.0 * TABLE_EVERY
"""What takes a query or a fit."""
KEPT_VOTES: Final = 10.0 * TABLE_EVERY
"""What is read of the archive."""
LATE: Final = 30.0 * TABLE_EVERY
"""So much later something dear is still shown, while it is asked for again."""
