"""How often open pages draw themselves again, and how long what they read is kept, in seconds.

All follows from one number, the time between two drawings of a table: `kwise dashboard serve --refresh`. What was read
is kept for a part of it, so that a store is read no more often however many people watch; where pages are drawn less
often than by default, it is kept no longer, or they would show what is old.
"""

from __future__ import annotations

import os
from typing import Final

REFRESH_VARIABLE: Final = "KWISE_APP_REFRESH"
DEFAULT_REFRESH: Final = 1.0

TABLE_EVERY: Final = float(os.environ.get(REFRESH_VARIABLE) or DEFAULT_REFRESH)  # written by `start_dashboard`
CHART_EVERY: Final = 5.0 * TABLE_EVERY
"""Charts, and tables that take a query or a fit: dearer, and nobody sees a trend change within a second."""
MADE_EVERY: Final = 30.0 * TABLE_EVERY
"""Pictures: new ones come with votes on one model, and each is loaded."""
_LOOKED_EVERY: Final = min(TABLE_EVERY, DEFAULT_REFRESH)
KEPT: Final = 0.4 * _LOOKED_EVERY
KEPT_DEAR: Final = 4.0 * _LOOKED_EVERY
"""What takes a query or a fit."""
KEPT_VOTES: Final = 10.0 * _LOOKED_EVERY
"""What is read of the archive."""
KEPT_ASKED: Final = 2.5 * _LOOKED_EVERY
"""What the gateway was asked."""
LATE: Final = 30.0 * _LOOKED_EVERY
"""So much later something dear is still shown, while it is asked for again."""
