"""Reads a segment as an analyst would: with DuckDB and nothing of Watchkeeper. usage: parquet.py EVENTS CONTENTS"""

import json
import sys

import duckdb

events, contents = sys.argv[1:]
said = duckdb.execute(
    """
    SELECT e.seq, e.kind, e.session_id, e.user_id, e.model, e.input_tokens, epoch_ns(e.time) AS time_ns, c.text
    FROM (SELECT *, unnest(pieces) AS content FROM read_parquet(?)) e
    JOIN read_parquet(?) c ON c.row = e.content
    ORDER BY e.seq, e.content
    """,
    [events, contents],
).fetchall()
# The JSON of the event names its contents by their rows, too.
first = duckdb.execute("SELECT event_json FROM read_parquet(?) ORDER BY seq LIMIT 1", [events]).fetchone()[0]
print(json.dumps({"said": said, "rows": [piece["content"]["id"] for piece in json.loads(first)["pieces"]]}))
