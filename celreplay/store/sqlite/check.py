"""Looking at everything in the store: is what is kept beside the deliveries still true of them?"""

import sqlite3
from itertools import groupby

from celreplay.store.base import Lane
from celreplay.store.sqlite.statements import SQL
from celreplay.store.sqlite.strands import BLOCKED, HELD_BACK, SENDING


def mistakes(connection: sqlite3.Connection) -> list[str]:
    """What is wrong, for people; empty when all is well."""
    found = [row[0] for row in connection.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"]
    counted = {tuple(row) for row in connection.execute(SQL["recount"]).fetchall()}
    kept = {tuple(row) for row in connection.execute(SQL["counts"]).fetchall()}
    found += [f"counter {row[0]}/{row[1]}: {row[2]}" for row in sorted(counted ^ kept)]
    found += [f"replay {row['id']}: waiting" for row in connection.execute(SQL["recount_replays"]).fetchall()]
    found += [f"delivery {row['id']}: kept twice" for row in connection.execute(SQL["kept_twice"]).fetchall()]
    waiting = connection.execute(SQL["strands"]).fetchall()
    for _, rows in groupby(waiting, key=lambda row: (row["connector"], row["strand"], row["lane"])):
        blocked = False
        for row in rows:
            if row["turn"] == HELD_BACK and (row["lane"] != Lane.LIVE or row["attempts"] or row["impatient"]):
                found.append(f"delivery {row['id']}: held back")
            if row["turn"] != SENDING and blocked != (row["turn"] == BLOCKED):
                found.append(f"delivery {row['id']}: turn {row['turn']}")
            blocked = blocked or not row["yields"]
    return found
