"""Reads a Parquet file with DuckDB and prints what it finds as JSON."""
import json, sys

import duckdb

table = f"read_parquet('{sys.argv[1]}')"
one = lambda query: duckdb.sql(query).fetchall()
print(json.dumps({
    "rows": one(f"select count(*) from {table}")[0][0],
    "kinds": [kind for (kind,) in one(f"select kind from {table} order by seq")],
    "call": one(f"select input_tokens, output_tokens, cost::decimal(18, 6)::varchar, workload_id, credential,"
                f" reasoning_tokens is null, stream, strftime(time, '%Y-%m-%dT%H:%M:%S') from {table} where kind = 'model_call'")[0],
    "inside": one(f"select json_extract_string(record, '$.finding.rule') from {table} where kind = 'finding'")[0][0],
    "types": {row[0]: row[1] for row in one(f"describe select * from {table}")},
}))
