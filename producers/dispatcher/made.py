"""What a model has made, for whoever looks at the model and does not vote.

It must not betray a model to somebody who votes. So nothing is listed that is in a matchup which anybody may still be
shown or has before them, by whichever job and in whichever arena: what counts are the bytes, since a voter has those.
Nor is what came of a prompt that a voter typed, which is that voter's own.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from pipeline.contracts.matchup import decode_matchup
from producers.dispatcher.types import MadeArtifact

JOBS_SEEN: Final = 500
"""The newest jobs of the model, of which all may be needed: nobody waits for a look at all that it ever made."""
SLOTS_SEEN: Final = 100
"""The oldest slots of a job, of which none may have been voted on: thousands of matchups may share a job."""

# An artifact has the address of its oldest vote that is still known, so that it keeps it and browsers have it already.
# With max(), SQLite takes the other columns from the row that has the maximum. CROSS JOIN: in this order, beginning
# with the living matchups, which are few.
_NEWEST = """
    WITH candidates AS (
        SELECT number, sha256, media_type FROM jobs INDEXED BY made WHERE state = 2 AND arena = ? AND model = ?
        ORDER BY number DESC LIMIT ?
    ), shown AS (
        SELECT sha256, media_type, number, (
            SELECT m.number FROM (
                SELECT matchup FROM slots INDEXED BY slots_of_job WHERE job = c.number ORDER BY matchup LIMIT ?
            ) s CROSS JOIN matchups m ON m.number = s.matchup
            WHERE m.state = 3 AND m.custom = 0 ORDER BY s.matchup LIMIT 1
        ) AS matchup
        FROM candidates c WHERE sha256 NOT IN (
            SELECT j.sha256 FROM matchups m INDEXED BY living CROSS JOIN slots s ON s.matchup = m.number
            CROSS JOIN jobs j ON j.number = s.job WHERE m.state <= 2 AND j.sha256 IS NOT NULL
        )
    )
    SELECT s.address, c.media_type, m.record, max(m.shown_at) FROM shown c
    CROSS JOIN matchups m ON m.number = c.matchup CROSS JOIN slots s ON s.matchup = m.number AND s.job = c.number
    WHERE s.address IS NOT NULL GROUP BY c.sha256 ORDER BY m.shown_at DESC, m.number DESC LIMIT ?
"""


def list_newest(connection: sqlite3.Connection, arena: str, model: str, limit: int) -> list[MadeArtifact]:
    """Return up to `limit` artifacts of a model that were shown and voted on, each once, the last shown first."""
    rows = connection.execute(_NEWEST, (arena, model, JOBS_SEEN, SLOTS_SEEN, limit)).fetchall()
    return [
        MadeArtifact(address, media_type, decode_matchup(record).prompt, shown_at)
        for address, media_type, record, shown_at in rows
    ]
