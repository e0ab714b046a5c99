from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dashboard.download import write_csv, write_parquet

TABLE = pa.table({"name": ["a", '=1+1"', None], "n": [1, None, 3], "x": [0.1, None, 1e-9], "l": [["a", "b"], [], None]})


def test_csv_holds_what_spreadsheets_can_take() -> None:
    lines = write_csv(TABLE).splitlines()
    assert lines == ["name,n,x,l", '"a",1,0.1,"a b"', '"\'=1+1""",,,""', ",3,1e-9,"]


def test_csv_of_no_rows_is_a_header() -> None:
    assert write_csv(TABLE.slice(0, 0)) == "name,n,x,l\n"


@pytest.mark.parametrize("length", [0, 3])
def test_parquet_is_the_table(length: int) -> None:
    assert pq.read_table(io.BytesIO(write_parquet(TABLE.slice(0, length)))).equals(TABLE.slice(0, length))
