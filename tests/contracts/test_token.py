"""Tokens: what they are on the wire, and that none but the right one is right."""

from __future__ import annotations

import hmac
import struct
from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.token import (
    Claims,
    Keyring,
    TokenKey,
    TokenKeyError,
    check_tokens,
    is_genuine,
    make_token,
    read_expiry,
)
from pipeline.contracts.vote import Vote, encode_vote
from pipeline.operators.ingest import ingest_batch
from tests.broken_records import APPENDED_AT
from tests.decoding import make_batch

KEY = TokenKey("k1", bytes(range(32)))
OLD = TokenKey("old", bytes(range(1, 33)), "retired")
KEYRING = Keyring((OLD, KEY))
EXPIRY = APPENDED_AT // 1000 + 1
CLAIMS = Claims("text-to-image", "9c1d4b", ("sd-3.5", "flux-dev"), "v3.3f9a1c", "gibbs", 0.00042, EXPIRY)


def vote_of(claims: Claims, token: str | None, number: int = 0) -> Vote:
    return Vote(
        vote_id=f"vote-{number}",
        matchup_id=claims.matchup_id,
        arena=claims.arena,
        time=APPENDED_AT,
        voter=claims.voter,
        models=claims.models,
        ranks=tuple(range(1, len(claims.models) + 1)),
        policy=claims.policy,
        propensity=claims.propensity,
        token=token,
    )


def verdicts(votes: list[Vote], keyring: Keyring = KEYRING, appended_at: int = APPENDED_AT) -> list[bool | None]:
    decoded = ingest_batch(make_batch([encode_vote(vote) for vote in votes], appended_at=appended_at))
    assert decoded.votes.num_rows == len(votes)
    found: list[bool | None] = check_tokens(decoded.votes, keyring).to_pylist()
    return found


def test_a_token_is_what_the_architecture_says() -> None:
    # Msgpack by hand: an array of 7; strings up to 31 bytes are 0xa0 + length; 8 bytes are 0xc4 0x08; uint32 is 0xce.
    def text(value: str) -> bytes:
        return bytes([0xA0 + len(value)]) + value.encode()

    claims = Claims("arena", "m1", ("a", "bb"), "v1.2", "gibbs", 0.25, 1764003600)
    message = b"\x97" + text("arena") + text("m1") + b"\x92" + text("a") + text("bb") + text("v1.2") + text("gibbs")
    message += b"\xc4\x08" + struct.pack(">d", 0.25) + b"\xce" + struct.pack(">I", 1764003600)
    mac = urlsafe_b64encode(hmac.digest(KEY.secret, message, "sha256")).decode().rstrip("=")
    assert make_token(KEY, claims) == f"k1.1764003600.{mac}"
    nil = message.replace(text("v1.2"), b"\xc0").replace(text("gibbs"), b"\xc0")
    nil = nil.replace(b"\xc4\x08" + struct.pack(">d", 0.25), b"\xc0")
    bare = claims._replace(voter=None, policy=None, propensity=None)
    mac = urlsafe_b64encode(hmac.digest(KEY.secret, nil, "sha256")).decode().rstrip("=")
    assert make_token(KEY, bare) == f"k1.1764003600.{mac}"


CHANGES: dict[str, dict[str, Any]] = {
    "another arena": {"arena": "text-to-video"},
    "another matchup": {"matchup_id": "9c1d4c"},
    "swapped slots": {"models": ("flux-dev", "sd-3.5")},
    "another model": {"models": ("sd-3.5", "pixart")},
    "one more model": {"models": ("sd-3.5", "flux-dev", "pixart")},
    "another voter": {"voter": "v3.3f9a1d"},
    "no voter": {"voter": None},
    "another policy": {"policy": "random"},
    "another propensity": {"propensity": 0.00043},
    "no propensity": {"propensity": None},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_token_is_good_for_one_vote_only(change: dict[str, Any]) -> None:
    token = make_token(KEY, CLAIMS)
    assert is_genuine(KEYRING, token, CLAIMS)
    assert not is_genuine(KEYRING, token, CLAIMS._replace(**change))
    assert verdicts([vote_of(CLAIMS, token), vote_of(CLAIMS._replace(**change), token)]) == [True, False]


def test_keys_decide() -> None:
    retired, unknown = make_token(OLD, CLAIMS), make_token(TokenKey("k9", b"x" * 32), CLAIMS)
    forged = make_token(TokenKey("k1", b"x" * 32), CLAIMS)
    assert verdicts([vote_of(CLAIMS, token) for token in (retired, unknown, forged, None)]) == [
        True,
        False,
        False,
        None,
    ]
    assert verdicts([vote_of(CLAIMS, make_token(KEY, CLAIMS))], Keyring((OLD,))) == [False]


def test_the_log_must_take_the_vote_before_the_token_expires() -> None:
    vote = vote_of(CLAIMS, make_token(KEY, CLAIMS))
    assert verdicts([vote], appended_at=EXPIRY * 1000) == [True]
    assert verdicts([vote], appended_at=EXPIRY * 1000 + 1) == [False]


def test_a_later_expiry_cannot_be_written_into_a_token() -> None:
    key_id, _, mac = make_token(KEY, CLAIMS).split(".")
    assert verdicts([vote_of(CLAIMS, f"{key_id}.{EXPIRY + 1}.{mac}")]) == [False]


@pytest.mark.parametrize(
    "token",
    [
        "",
        "k1",
        "k1.1.x",
        "..",
        "K1.{expiry}.{mac}",
        "k1.0{expiry}.{mac}",
        "k1.+{expiry}.{mac}",
        "k1.{expiry}.{mac}=",
        "k1.{expiry}.{mac} ",
        "k1.{expiry}.{mac}\n",
        "k1.-1.{mac}",
        "k1.99999999999999999999.{mac}",
        "k1.٣.{mac}",
    ],
)
def test_other_texts_are_no_tokens(token: str) -> None:
    _, expiry, mac = make_token(KEY, CLAIMS).split(".")
    assert verdicts([vote_of(CLAIMS, token.format(expiry=expiry, mac=mac))]) == [False]


def test_the_last_character_counts_wholly() -> None:
    token = make_token(KEY, CLAIMS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [token[:-1] + last for last in alphabet if last != token[-1]]
    assert not any(is_genuine(KEYRING, other, CLAIMS) for other in others)


ids = st.text("abcxyz019._:-", min_size=1, max_size=12).map(lambda text: "i" + text)


@given(
    st.lists(
        st.tuples(
            st.builds(
                Claims,
                ids,
                ids,
                st.lists(ids, min_size=2, max_size=8, unique=True).map(tuple),
                st.none() | st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()),
                st.none() | ids,
                st.none() | st.floats(allow_nan=False, allow_infinity=False),
                st.integers(0, 2**33),
            ),
            st.sampled_from(["right", "wrong", "none"]),
        ),
        max_size=12,
    )
)
def test_a_batch_is_judged_as_its_votes_one_by_one(drawn: list[tuple[Claims, str]]) -> None:
    votes, expected = [], []
    for number, (claims, kind) in enumerate(drawn):
        token = make_token(KEY, claims if kind == "right" else claims._replace(matchup_id="another"))
        votes.append(vote_of(claims, None if kind == "none" else token, number))
        expected.append(None if kind == "none" else kind == "right" and claims.expiry * 1000 >= APPENDED_AT)
    assert verdicts(votes) == expected


def test_batches_without_tokens_are_not_looked_at() -> None:
    def fail(_: Any) -> Any:
        raise AssertionError("asked")

    batch = make_batch([encode_vote(vote_of(CLAIMS, None))])
    assert ingest_batch(batch, check_token=fail).votes["token_ok"].to_pylist() == [None]


def test_expiries_are_read_without_a_key() -> None:
    assert read_expiry(make_token(KEY, CLAIMS)) == EXPIRY
    assert read_expiry("k1.5") is None


def test_the_newest_active_key_signs() -> None:
    assert Keyring((KEY, TokenKey("k2", b"y" * 32), replace(OLD))).signing.id == "k2"
    with pytest.raises(TokenKeyError, match="rotate"):
        _ = Keyring((OLD,)).signing
    with pytest.raises(TokenKeyError, match="share an id: k1"):
        Keyring((KEY, KEY))
    with pytest.raises(TokenKeyError, match="32 or more"):
        TokenKey("k1", b"short")
    with pytest.raises(TokenKeyError, match="not valid"):
        TokenKey("K 1", b"y" * 32)
    assert "secret" not in repr(KEY)
