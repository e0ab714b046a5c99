"""The fast decoder says what the reference says, whatever it is given."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.byte_strings import gather_strings, make_pool
from pipeline.contracts.string_book import build_dictionary, make_book, number_strings
from pipeline.operators.ingest import ingest_batch
from tests.broken_records import BROKEN_RECORDS, good_fields, good_record, swapped
from tests.contracts.test_decode_reference import BALLOTS
from tests.decoding import facts_of, make_batch, reference_of


def check_agreement(values: list[bytes]) -> None:
    votes, rejects = facts_of(ingest_batch(make_batch(values)))
    expected_votes, expected_rejects = reference_of(values)
    assert rejects == expected_rejects
    assert votes == expected_votes


def test_fast_decoder_agrees_on_broken_records() -> None:
    values = [payload for record in BROKEN_RECORDS for payload in (good_record(), record.payload, good_record(1))]
    check_agreement(values)


@pytest.mark.parametrize(
    "text",
    [
        *("0", "1", "0.5", "1e0", "1E5", "1e-5", "1e+5", "0.1e1", "1.0", "123456789012345678", "0.000", "0e5"),
        *("1234567890.123456789", "0.041999999999999996", "9007199254740993", "1e22", "1e23", "1e-22", "1e-23"),
        *("1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", "1e249", "1e250", "1e251", "1e-250"),
        *("-0.5", "-0", "-0.0", "-1", "-", "00", "01", "1.", ".1", "1e", "1e+", "1e-+5", "1e0005", "1e5000", "0x1"),
        *("0." + "0" * 20 + "1", "0." + "1" * 40, "1" * 19, "1" * 36, "1" * 37, "1" * 36 + "e250", "0.3e-250"),
        "8.5e-5", "2.738500170148095e-6",
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["0.00042", "8400", "1764000000123", '"schema":1'])
def test_fast_decoder_agrees_on_numbers(text: str, field: str) -> None:
    check_agreement([swapped(field, f'"schema":{text}' if "schema" in field else text), good_record()])


def test_fast_decoder_agrees_on_ballots() -> None:
    check_agreement([
        good_record(models=[f"m{i}" for i in range(len(groups))], ranks=ranks, mode=mode)
        for mode, ranks, groups in BALLOTS
    ])  # fmt: skip


def test_fast_decoder_takes_ordinary_votes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be right, and slow, and no other test would notice."""
    monkeypatch.setattr("pipeline.contracts.decode_fast.decode_vote", None)
    ordinary = [
        good_record(),
        json.dumps(good_fields(), indent=2).encode(),
        json.dumps(dict(reversed(good_fields().items()))).encode(),
        good_record(comment="text", flag=True, other=None, off=False, count=3, share=0.25),
        good_record(mode="best", ranks=[None, 1, None, None]),
        good_record(mode="skip", ranks=None),
        good_record(mode=..., prompt=..., policy=..., propensity=..., duration_ms=..., token=..., voter=...),
        good_record(propensity=0.041999999999999996),
        good_record(propensity=2.5e-07),
    ]
    assert ingest_batch(make_batch(ordinary)).votes.num_rows == len(ordinary)


def test_fast_decoder_agrees_on_records_that_complete_each_other() -> None:
    """The scanner may look past the end of a record; it must not take what it finds there."""
    whole = good_record()
    cuts = [piece for cut in range(len(whole)) for piece in (whole[:cut], whole[cut:])]
    check_agreement([*cuts, whole, b'{"a', b'":1}', b'{"a":tru', b"e}", b"   ", b" " * 9, whole])


@pytest.mark.parametrize("seed", range(4))
def test_fast_decoder_agrees_on_mutations(seed: int) -> None:
    rng = random.Random(seed)
    sources = [
        good_record(),
        good_record(mode="best", ranks=[None, 1, None, None]),
        swapped("[1,2,2,4]", "[ 1 , 2,2,4]"),
    ]
    sources += [record.payload for record in BROKEN_RECORDS if len(record.payload) < 2_000]
    check_agreement([_mutate(rng, rng.choice(sources[: rng.choice((3, len(sources)))])) for _ in range(1_500)])


def _mutate(rng: random.Random, payload: bytes) -> bytes:
    mutated = bytearray(payload)
    alphabet = b'"\\{}[]:,.-+eE0123456789 \t\n\x00\x1f\x7f\x80\xc3\xffnulltruefalsaz_'
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = rng.randrange(len(mutated) + 1)
        action = rng.randrange(5)
        if action == 0 and place < len(mutated):
            mutated[place] = rng.choice(alphabet)
        elif action == 1 and place < len(mutated):
            mutated[place] ^= 1 << rng.randrange(8)
        elif action == 2:
            mutated.insert(place, rng.choice(alphabet))
        elif action == 3:
            del mutated[place : place + rng.choice((1, 1, 2, 10))]
        else:
            end = min(place + rng.randrange(40), len(mutated))
            mutated[place:place] = mutated[place:end]
    return bytes(mutated)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["rank", "best", "skip", "all_bad", "text-to-image", "1"]),
    st.sampled_from([2**31, 2**31 - 1, -(2**31), 2**63, 2**63 - 1, 1_764_000_000_123, 1.0, 1e300]),
)
values = st.one_of(scalars, st.lists(scalars, max_size=9), st.dictionaries(st.text(max_size=3), scalars, max_size=2))


@st.composite
def records(draw: st.DrawFn) -> bytes:
    fields = good_fields()
    k = draw(st.integers(0, 10))
    fields["models"] = draw(st.lists(st.sampled_from([f"m{i}" for i in range(12)]), min_size=k, max_size=k))
    fields["ranks"] = draw(
        st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(-2, 3)), min_size=k, max_size=k))
    )
    fields["mode"] = draw(st.sampled_from(["rank", "best", "all_bad", "skip"]))
    for name in draw(st.lists(st.sampled_from([*fields, "extra"]), max_size=3)):
        fields[name] = draw(values)
    for name in draw(st.lists(st.sampled_from(list(fields)), max_size=1)):
        del fields[name]
    order: list[str] = draw(st.permutations(list(fields)))
    ordered: dict[str, Any] = {name: fields[name] for name in order}
    indent = draw(st.sampled_from([None, 1]))
    return json.dumps(ordered, indent=indent, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@given(st.lists(records(), max_size=4))
def test_fast_decoder_agrees_on_generated_records(batch: list[bytes]) -> None:
    check_agreement(batch)


def test_strings_are_numbered_in_order_of_first_mention() -> None:
    rng = np.random.default_rng(1)
    texts = [f"{number:x}" * (number % 5) for number in rng.integers(0, 9_000, 30_000)]
    pool = make_pool([text.encode() for text in texts])
    lengths = np.array([len(text) for text in texts], np.int32)
    starts = np.cumsum(lengths) - lengths
    lengths[17] = -1
    numbers, book = number_strings(pool, starts, lengths, make_book())
    codes, values = build_dictionary(book, numbers[5:])
    assert values.to_pylist() == list(
        dict.fromkeys(text for place, text in enumerate(texts) if place > 4 and place != 17)
    )
    assert codes[12] == -1
    assert all(values[code].as_py() == text for code, text in zip(codes, texts[5:], strict=True) if code >= 0)


def test_a_batch_with_many_ids_grows_its_book() -> None:
    values = [
        good_record(n, prompt=f"p{'x' * 80}{n}", models=[f"m{n}-{slot}" for slot in range(4)]) for n in range(3_000)
    ]
    votes, rejects = facts_of(ingest_batch(make_batch(values)))
    assert rejects == []
    assert [vote["prompt"] for vote in votes] == [f"p{'x' * 80}{n}" for n in range(3_000)]
    assert [vote["models"] for vote in votes] == [[f"m{n}-{slot}" for slot in range(4)] for n in range(3_000)]


def test_gather_strings_puts_them_one_after_the_other() -> None:
    pool = make_pool([b"hello", b"wonderful world"])
    offsets = np.empty(4, np.int32)
    data = gather_strings(pool, np.array([5, 0, 0]), np.array([15, -1, 5], np.int32), offsets)
    assert offsets.tolist() == [0, 15, 15, 20]
    assert data[:20].tobytes() == b"wonderful worldhello"
