"""Envelopes: what streams may look like, and what is rejected of them."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.envelope import Envelope, encode_envelope, read_envelope
from pipeline.contracts.ipc_sizes import measure_unpacked
from pipeline.contracts.log import ARROW_STREAM
from pipeline.contracts.reasons import MAX_VOTE_BYTES, REASONS_BY_CODE, Reason
from pipeline.contracts.vote import VOTE_SCHEMA, Vote
from pipeline.operators.ingest import Decoded, ingest_batch
from tests.broken_records import APPENDED_AT, BROKEN_RECORDS, good_fields, good_record
from tests.decoding import facts_of, make_batch, reference_of


def write_stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def table_of(rows: list[dict[str, Any]], schema: pa.Schema = VOTE_SCHEMA) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def ingest(*streams: bytes, **options: Any) -> Decoded:
    return ingest_batch(make_batch(streams, content_types=[ARROW_STREAM] * len(streams)), **options)


def verdicts_of(decoded: Decoded) -> dict[int, str]:
    """Return the reason by index, for rows that have one."""
    votes, rejects = facts_of(decoded)
    reasons = {index: reason for _, index, reason, *_ in rejects}
    return reasons | {vote["index"]: REASONS_BY_CODE[vote["fault"]].value for vote in votes if vote["fault"]}


def test_envelopes_decode_like_json() -> None:
    rows = [good_fields(n) for n in range(20)]
    rows[3] |= {"mode": "best", "ranks": [None, 1, None, 1]}
    rows[4] |= {"mode": "all_bad", "ranks": None}
    rows[5] |= dict.fromkeys(("voter", "mode", "prompt", "policy", "propensity", "duration_ms", "token"))
    rows[6] |= {"models": ["a", "b"], "ranks": [7, 7], "voter": "ü"}
    votes, rejects = facts_of(ingest(write_stream(table_of(rows))))
    expected, _ = reference_of([json.dumps(row).encode() for row in rows])
    assert rejects == []
    for index, (vote, like) in enumerate(zip(votes, expected, strict=True)):
        assert vote == like | {"offset": 0, "index": index, "payload": None}


BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"schema": 2}, "schema"),
    ({"schema": None}, "schema"),
    ({"vote_id": None}, "schema"),
    ({"vote_id": ""}, "schema"),
    ({"vote_id": "a b"}, "schema"),
    ({"vote_id": "ä"}, "schema"),
    ({"vote_id": "x" * 129}, "schema"),
    ({"matchup_id": None}, "schema"),
    ({"matchup_id": "-"}, "schema"),
    ({"arena": None}, "schema"),
    ({"arena": "../x"}, "schema"),
    ({"time": None}, "schema"),
    ({"time": -1}, "schema"),
    ({"voter": "x" * 257}, "schema"),
    ({"mode": "worst"}, "schema"),
    ({"mode": ""}, "schema"),
    ({"models": None}, "schema"),
    ({"models": ["a", None, "b", "c"]}, "schema"),
    ({"models": ["a", "", "b", "c"]}, "schema"),
    ({"prompt": "a cat"}, "schema"),
    ({"policy": "\n"}, "schema"),
    ({"propensity": float("nan")}, "schema"),
    ({"propensity": float("-inf")}, "schema"),
    ({"token": "x" * 70_000}, "too_large"),
    ({"voter": "x" * 70_000}, "too_large"),
    ({"models": []}, "bad_ranks"),
    ({"models": ["a"], "ranks": [1]}, "bad_ranks"),
    ({"models": [f"m{i}" for i in range(9)], "ranks": list(range(9))}, "bad_ranks"),
    ({"models": ["a", "b", "a", "c"]}, "bad_ranks"),
    ({"ranks": None}, "bad_ranks"),
    ({"ranks": []}, "bad_ranks"),
    ({"ranks": [1, 2, 3]}, "bad_ranks"),
    ({"ranks": list(range(20))}, "bad_ranks"),
    ({"ranks": [1, None, 2, 3]}, "bad_ranks"),
    ({"mode": "best"}, "bad_ranks"),
    ({"mode": "skip"}, "bad_ranks"),
    ({"time": 2**62}, "bad_time"),
    ({"time": 2**62, "ranks": [1]}, "bad_ranks"),
    ({"time": 2**62, "policy": "?"}, "schema"),
]


def test_a_bad_row_touches_no_other() -> None:
    rows, expected = [], {}
    for number, (change, reason) in enumerate(BAD_ROWS):
        rows += [good_fields(number), good_fields(number) | change]
        expected[2 * number + 1] = reason
    decoded = ingest(write_stream(table_of([*rows, good_fields()])))
    assert verdicts_of(decoded) == expected
    votes, rejects = facts_of(decoded)
    assert len(votes) + len(rejects) == len(rows) + 1
    assert all((vote["payload"] is None) == (vote["fault"] == 0) for vote in votes)
    for vote in votes:
        if vote["fault"]:
            assert json.loads(vote["payload"])["vote_id"] == vote["vote_id"]


def test_bad_rows_are_kept_as_json() -> None:
    decoded = ingest(
        write_stream(table_of([good_fields() | {"arena": "a b", "token": None, "propensity": float("nan")}]))
    )
    (payload,) = decoded.rejects["payload"].to_pylist()
    fields = good_fields()
    del fields["token"]
    assert json.loads(payload) == fields | {"arena": "a b", "propensity": "nan"}


REPLACED: list[tuple[str, pa.DataType]] = [
    ("vote_id", pa.large_string()),
    ("vote_id", pa.string_view()),
    ("arena", pa.dictionary(pa.int8(), pa.string())),
    ("mode", pa.dictionary(pa.uint32(), pa.large_string())),
    ("token", pa.null()),
    ("schema", pa.int8()),
    ("schema", pa.uint64()),
    ("time", pa.uint64()),
    ("duration_ms", pa.int16()),
    ("propensity", pa.float32()),
    ("propensity", pa.int8()),
    ("models", pa.large_list(pa.string())),
    ("models", pa.list_(pa.large_string())),
    ("models", pa.list_(pa.string_view())),
    ("models", pa.list_(pa.dictionary(pa.int16(), pa.string()))),
    ("models", pa.large_list(pa.dictionary(pa.int16(), pa.string()))),
    ("models", pa.list_(pa.string(), 4)),
    ("models", pa.list_view(pa.string())),
    ("models", pa.large_list_view(pa.string())),
    ("ranks", pa.list_(pa.int8())),
    ("ranks", pa.list_(pa.int64())),
    ("ranks", pa.list_(pa.uint32())),
    ("ranks", pa.large_list(pa.uint64())),
    ("ranks", pa.list_(pa.int32(), 4)),
    ("ranks", pa.list_view(pa.int16())),
]


def make_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """`pa.array` for all kinds."""
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        plain = make_array(values, pa.list_(kind.value_type))
        wide = pa.types.is_large_list_view(kind)
        offsets = pa.array(plain.offsets.to_numpy()[:-1], pa.int64() if wide else pa.int32())
        sizes = pa.array(np.diff(plain.offsets.to_numpy()), offsets.type)
        return (pa.LargeListViewArray if wide else pa.ListViewArray).from_arrays(offsets, sizes, plain.values)
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)


@pytest.mark.parametrize(("name", "kind"), REPLACED, ids=str)
def test_columns_may_have_any_fitting_type(name: str, kind: pa.DataType) -> None:
    rows = [good_fields(n) | {"propensity": 0.0, "duration_ms": 8} for n in range(7)]
    plain = table_of(rows)
    column = make_array([None if pa.types.is_null(kind) else row[name] for row in rows], kind)
    place = plain.schema.get_field_index(name)
    votes, rejects = facts_of(ingest(write_stream(plain.set_column(place, name, column))))
    expected, _ = facts_of(ingest(write_stream(plain)))
    assert rejects == []
    assert votes == [vote | ({name: None} if pa.types.is_null(kind) else {}) for vote in expected]


@pytest.mark.parametrize(
    ("name", "kind", "value", "reason"),
    [
        ("time", pa.uint64(), 2**63, "schema"),
        ("duration_ms", pa.uint64(), 2**64 - 1, "schema"),
        ("schema", pa.int64(), 2**32 + 1, "schema"),
        ("ranks", pa.list_(pa.int64()), [1, 2, 2**32 + 3, 4], "bad_ranks"),
        ("ranks", pa.list_(pa.uint32()), [1, 2, 2**31, 4], "bad_ranks"),
        ("ranks", pa.list_view(pa.uint64()), [1, 2, 2**63, 4], "bad_ranks"),
    ],
)
def test_a_value_that_does_not_fit_is_a_fault_of_its_row(name: str, kind: pa.DataType, value: Any, reason: str) -> None:
    rows = [good_fields(n) for n in range(3)]
    plain = table_of(rows)
    column = make_array([rows[0][name], value, rows[2][name]], kind)
    decoded = ingest(write_stream(plain.set_column(plain.schema.get_field_index(name), name, column)))
    assert verdicts_of(decoded) == {1: reason}


@pytest.mark.parametrize("name", VOTE_SCHEMA.names)
def test_optional_columns_may_be_missing(name: str) -> None:
    rows = [good_fields(n) | {"mode": "skip", "ranks": None} for n in range(2)]
    decoded = ingest(write_stream(table_of(rows).drop_columns([name])))
    if name in {"schema", "vote_id", "matchup_id", "arena", "time", "models"}:
        assert [reject[:3] for reject in facts_of(decoded)[1]] == [(0, 0, "schema")]
        assert name in decoded.rejects["detail"][0].as_py()
    elif name == "mode":  # these are rankings without ranks, then
        assert verdicts_of(decoded) == {0: "bad_ranks", 1: "bad_ranks"}
    else:
        assert verdicts_of(decoded) == {}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("time", pa.float64()),
        ("time", pa.timestamp("ms")),
        ("time", pa.null()),
        ("schema", pa.bool_()),
        ("vote_id", pa.binary()),
        ("vote_id", pa.int64()),
        ("arena", pa.dictionary(pa.int8(), pa.binary())),
        ("models", pa.string()),
        ("models", pa.list_(pa.int32())),
        ("models", pa.list_(pa.list_(pa.string()))),
        ("ranks", pa.list_(pa.float64())),
        ("ranks", pa.list_(pa.string())),
        ("ranks", pa.int32()),
        ("propensity", pa.decimal128(10)),
        ("propensity", pa.bool_()),
        ("token", pa.binary()),
    ],
    ids=str,
)
def test_a_column_of_the_wrong_type_is_one_schema_fault(name: str, kind: pa.DataType) -> None:
    plain = table_of([good_fields(n) for n in range(3)])
    place = plain.schema.get_field_index(name)
    decoded = ingest(write_stream(plain.set_column(place, name, pa.nulls(3, kind))), write_stream(plain))
    votes, rejects = facts_of(decoded)
    assert [reject[:3] for reject in rejects] == [(0, 0, "schema")]
    assert name in rejects[0][4]
    assert [(vote["offset"], vote["index"]) for vote in votes] == [(1, 0), (1, 1), (1, 2)]


def test_extra_columns_and_any_order_are_fine_but_no_repeats() -> None:
    plain = table_of([good_fields()])
    shuffled = plain.select(sorted(plain.schema.names)).append_column("comment", pa.array([b"\xff"]))
    assert facts_of(ingest(write_stream(shuffled)))[0] == facts_of(ingest(write_stream(plain)))[0]
    repeated = plain.append_column("arena", plain["arena"])
    assert verdicts_of(ingest(write_stream(repeated))) == {0: "schema"}


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_streams_of_several_batches_are_read(codec: str) -> None:
    table = pa.concat_tables([table_of([good_fields(n) for n in range(part, part + 3)]) for part in (0, 3)])
    votes, rejects = facts_of(ingest(write_stream(table, compression=codec)))
    assert [vote["index"] for vote in votes] == list(range(6))
    assert rejects == []


def test_unreadable_streams_are_one_not_json() -> None:
    whole = write_stream(table_of([good_fields(n) for n in range(3)]))
    for value in (b"", b"PAR1", b"\x00" * 40, whole[:100], whole[: len(whole) // 2], good_record()):
        verdicts = [reject[:3] for reject in facts_of(ingest(value, whole))[1]]
        assert verdicts == [(0, 0, "not_json")], value[:20]


def test_a_stream_without_batches_has_no_votes() -> None:
    decoded = ingest(write_stream(VOTE_SCHEMA.empty_table()), write_stream(table_of([good_fields()])))
    votes, rejects = facts_of(decoded)
    assert [vote["offset"] for vote in votes] == [1]
    assert rejects == []


def test_bad_utf8_makes_a_stream_unreadable() -> None:
    whole = write_stream(table_of([good_fields()]))
    assert whole.count(b"v3.3f9a1c") == 1
    assert verdicts_of(ingest(whole.replace(b"v3.3f9a1c", b"v3.3f9a1\xff"))) == {0: "not_json"}


@pytest.mark.parametrize("kind", ["dictionary", "view", "list_view"])
def test_streams_that_unpack_to_gigabytes_are_too_large(kind: str) -> None:
    plain = table_of([good_fields(n) for n in range(2_000)])
    name, long = "token", "x" * 200_000
    if kind == "dictionary":
        column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2_000, np.int32)), pa.array([long]))
    elif kind == "view":
        column = pa.array([long] * 2_000).cast(pa.string_view())
    else:
        name = "models"
        sizes = pa.array(np.full(2_000, 100_000, np.int32))
        column = pa.ListViewArray.from_arrays(pa.array(np.zeros(2_000, np.int32)), sizes, pa.array(["m"] * 100_000))
    stream = write_stream(plain.set_column(plain.schema.get_field_index(name), name, column))
    decoded = ingest(stream, max_record_bytes=None)
    assert [reject[:3] for reject in facts_of(decoded)[1]] == [(0, 0, "too_large")]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_columns_are_measured_before_they_are_unpacked(codec: str) -> None:
    long = 98_765
    stream = write_stream(table_of([good_fields(voter="\0" * long)]), compression=codec)
    head, _, tail = stream.rpartition(struct.pack("<q", long))  # the length of the texts; before it lie the offsets
    claim = struct.pack("<q", 2**45)  # more than any memory: whoever unpacks first does not come to judge it
    (reject,) = facts_of(ingest(head + claim + tail))[1]
    assert reject[:3] == (0, 0, "too_large")
    assert measure_unpacked(stream) >= long > len(stream)


def test_rows_of_nulls_are_measured_although_they_take_no_bytes() -> None:
    nulls = pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])
    table = pa.table(dict.fromkeys(VOTE_SCHEMA.names, nulls))
    assert [reject[:3] for reject in facts_of(ingest(write_stream(table)))[1]] == [(0, 0, "too_large")]


def test_dictionaries_are_measured_too() -> None:
    plain = table_of([good_fields()])
    column = pa.array(["\0" * 98_765]).dictionary_encode()
    table = plain.set_column(plain.schema.get_field_index("voter"), "voter", column)
    assert measure_unpacked(write_stream(table, compression="zstd")) >= 98_765
    assert measure_unpacked(write_stream(table)) < 1_000  # nothing to unpack


def test_row_of_megabytes_is_too_large_and_kept_by_its_head() -> None:
    table = table_of([good_fields(1, voter="\0" * 3_000_000), good_fields(2)])
    envelope = read_envelope(write_stream(table, compression="zstd"))
    assert isinstance(envelope, Envelope)
    assert MAX_VOTE_BYTES < len(envelope.row_json(0)) < 7 * MAX_VOTE_BYTES
    decoded = ingest(write_stream(table), max_record_bytes=None)
    assert (verdicts_of(decoded), len(decoded.votes)) == ({0: "too_large"}, 1)


def test_own_append_times_count_where_they_are_trusted() -> None:
    times: list[int | None] = [APPENDED_AT - 500, APPENDED_AT - 10**9, None]
    table = table_of([good_fields(n) for n in range(3)]).append_column("appended_at", pa.array(times, pa.int64()))
    streams = write_stream(table), write_stream(table.drop_columns(["appended_at"]))
    distrusting = ingest(*streams)
    assert verdicts_of(distrusting) == {}
    assert set(distrusting.votes["appended_at"].to_pylist()) == {APPENDED_AT}
    trusting = ingest(*streams, trust_row_times=True)
    own_time = good_fields()["time"]
    assert trusting.votes["appended_at"].to_pylist() == [times[0], times[1], own_time, own_time, own_time, own_time]
    assert trusting.votes["fault"].to_pylist()[:2] == [0, 7]


def test_many_envelopes_keep_their_places() -> None:
    streams, expected = [], []
    for offset in range(30):
        rows = [good_fields(n) | ({"arena": "?"} if n % 7 == 6 else {}) for n in range(offset % 9)]
        streams.append(write_stream(table_of(rows)))
        expected += [(offset, index) for index in range(len(rows)) if index % 7 != 6]
    votes, rejects = facts_of(ingest(*streams))
    assert [(vote["offset"], vote["index"]) for vote in votes] == expected
    assert {index for _, index, *_ in rejects} == {6}
    assert all(json.loads(vote["vote_id"].lstrip("0") or "0") == vote["index"] for vote in votes)


@given(st.data())
def test_envelopes_survive_mutations(data: st.DataObject) -> None:
    """Any bytes give votes or rejects, and leave the neighbour alone."""
    whole = write_stream(table_of([good_fields(n) for n in range(3)]))
    mutated = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    votes, _ = facts_of(ingest(bytes(mutated), whole))
    assert [vote["index"] for vote in votes if vote["offset"] == 1] == [0, 1, 2]


def test_rows_of_broken_json_records_are_judged_alike() -> None:
    """A broken JSON record whose fields fit the columns gets the same reason as a row of an envelope."""
    compared = 0
    for record in BROKEN_RECORDS:
        if record.reason in {Reason.TOO_LARGE, Reason.NOT_JSON}:
            continue
        fields = json.loads(record.payload)
        if not isinstance(fields, dict) or json.dumps(fields, separators=(",", ":")).encode() != record.payload:
            continue  # what is wrong is in the text
        row = {name: fields.get(name) for name in VOTE_SCHEMA.names}
        try:
            table = table_of([row])
        except (TypeError, OverflowError, pa.ArrowException):
            continue
        if repr(table.to_pylist()[0]) == repr(row):  # == would take 1.0 and true for 1
            expected = facts_of(ingest_batch(make_batch([record.payload])))
            votes, rejects = facts_of(ingest(write_stream(table)))
            assert [reject[2] for reject in rejects] == [reject[2] for reject in expected[1]], record.name
            assert [vote["fault"] for vote in votes] == [vote["fault"] for vote in expected[0]], record.name
            compared += 1
    assert compared > 40


def test_encode_envelope_is_what_ingest_reads() -> None:
    fields = good_fields()
    vote = Vote(**fields | {"models": tuple(fields["models"]), "ranks": tuple(fields["ranks"])})
    decoded, like = ingest(encode_envelope([vote])), ingest(write_stream(table_of([fields])))
    assert decoded == like
    assert ingest(encode_envelope([])).votes.num_rows == 0
