"""Tokens: what shows that a matchup was handed out by us, to this voter, with these models in these slots (promise 6).

A token is the text ``KEYID.EXPIRY.MAC``. MAC is HMAC-SHA-256 over msgpack of `Claims` as an array: (arena, matchup_id,
models in slot order, voter, policy, propensity as its 8 bytes in network order or nil, expiry), in base64url without
padding. It shows no model. EXPIRY is in seconds since 1970, KEYID names a key of the `Keyring`.

There is one text for a token: MACs are compared as texts, in constant time, and an expiry has no leading zeros.
"""

from __future__ import annotations

import hmac
import re
import struct
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.mac import Mac

KEY_ID: Final = r"[a-z0-9]{1,16}"
MIN_SECRET_BYTES: Final = 32
_TOKEN = re.compile(rf"({KEY_ID})\.(0|[1-9][0-9]{{0,10}})\.([A-Za-z0-9_-]{{43}})")

_encode = msgspec.msgpack.Encoder().encode
_pack_double = struct.Struct(">d").pack


class TokenKeyError(Exception):
    """Keys of tokens cannot be used. Says what was wrong, where, and what to do."""


class Claims(NamedTuple):
    """What a token vouches for. `models` in slot order; `expiry` in seconds since 1970 UTC."""

    arena: str
    matchup_id: str
    models: tuple[str, ...]
    voter: str | None
    policy: str | None
    propensity: float | None
    expiry: int


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key. An active one may sign; a retired one only checks what it signed before."""

    id: str
    secret: bytes
    state: Literal["active", "retired"] = "active"
    mac: Mac = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if re.fullmatch(KEY_ID, self.id) is None:
            raise TokenKeyError(f"key id {self.id!r} is not valid: 1 to 16 of a-z and 0-9")
        if len(self.secret) < MIN_SECRET_BYTES:
            raise TokenKeyError(
                f"key {self.id}: its secret has {len(self.secret)} bytes; it needs {MIN_SECRET_BYTES} or more"
            )
        object.__setattr__(self, "mac", Mac(self.secret))

    def __repr__(self) -> str:
        """Leave the secret out."""
        return f"TokenKey(id={self.id!r}, state={self.state!r})"


class Keyring:
    """Keys by id, oldest first. Frozen: a changed file is another keyring.

    Raises
    ------
    TokenKeyError
        Two keys share an id.
    """

    def __init__(self, keys: tuple[TokenKey, ...]) -> None:
        self.keys = keys
        self._by_id = {key.id: key for key in keys}
        if len(self._by_id) < len(keys):
            ids = [key.id for key in keys]
            raise TokenKeyError(f"keys share an id: {', '.join(sorted({one for one in ids if ids.count(one) > 1}))}")

    def find(self, key_id: str) -> TokenKey | None:
        """Return the key with this id."""
        return self._by_id.get(key_id)

    @property
    def signs(self) -> bool:
        """Whether there is an active key."""
        return any(key.state == "active" for key in self.keys)

    @property
    def signing(self) -> TokenKey:
        """The newest active key. Raises `TokenKeyError` if all are retired."""
        for key in reversed(self.keys):
            if key.state == "active":
                return key
        raise TokenKeyError("no key is active: `kwise gateway keys rotate FILE` adds one")


def make_token(key: TokenKey, claims: Claims) -> str:
    """Return the token that vouches for `claims`."""
    return f"{key.id}.{claims.expiry}.{_sign(key, claims)}"


def read_expiry(token: str) -> int | None:
    """Return what a token says of its expiry, seconds since 1970, unchecked; None for what is no token."""
    found = _TOKEN.fullmatch(token)
    return None if found is None else int(found[2])


def is_genuine(keyring: Keyring, token: str, claims: Claims) -> bool:
    """Whether `token` is of one of our keys and vouches for `claims`. The time is the caller's to judge."""
    found = _TOKEN.fullmatch(token)
    if found is None or int(found[2]) != claims.expiry:
        return False
    key = keyring.find(found[1])
    return key is not None and hmac.compare_digest(_sign(key, claims), found[3])


def find_key_ids(votes: pa.RecordBatch) -> set[str]:
    """Return the key ids that tokens of votes (`DECODED_SCHEMA`) name."""
    return {token.partition(".")[0] for token in votes["token"].drop_null().to_numpy(zero_copy_only=False).tolist()}


def check_tokens(votes: pa.RecordBatch, keyring: Keyring) -> pa.BooleanArray:
    """Say of each vote (`DECODED_SCHEMA`) whether its token is right; null where it has none.

    It is if one of our keys made it for this vote, and the log took the vote before the token expired
    (``expiry * 1000 >= appended_at``): the wall clock has no say, so a replay comes to the same verdicts.
    """
    tokens = votes["token"]
    if tokens.null_count == len(tokens):
        return pa.nulls(len(tokens), pa.bool_())
    rows = np.flatnonzero(tokens.is_valid().to_numpy(zero_copy_only=False))
    right = np.zeros(len(tokens), np.bool_)
    right[rows] = [
        is_genuine(keyring, token, claims) and claims.expiry * 1000 >= at
        for token, claims, at in zip(*_read_claims(votes.take(pa.array(rows))), strict=True)
    ]
    return pa.array(right, mask=tokens.is_null().to_numpy(zero_copy_only=False))


def _read_claims(votes: pa.RecordBatch) -> tuple[list[str], list[Claims], list[int]]:
    """Return token, claims and append time of votes that all have a token; the expiry is what the token says."""
    tokens = _texts(votes["token"])
    models = votes["models"]
    offsets = models.offsets.to_numpy().tolist()
    names = _words(models.values)
    propensities: NDArray[np.float64] = votes["propensity"].to_numpy(zero_copy_only=False)
    has_propensity = votes["propensity"].is_valid().to_numpy(zero_copy_only=False)
    claims = [
        Claims(arena, matchup, tuple(names[first:last]), voter, policy, chance if known else None, expiry)
        for arena, matchup, first, last, voter, policy, chance, known, expiry in zip(
            _words(votes["arena"]),
            _texts(votes["matchup_id"]),
            offsets[:-1],
            offsets[1:],
            _texts(votes["voter"]),
            _words(votes["policy"]),
            propensities.tolist(),
            has_propensity.tolist(),
            map(_expiry_or_never, tokens),
            strict=True,
        )
    ]
    return tokens, claims, votes["appended_at"].to_numpy().tolist()


def _expiry_or_never(token: str) -> int:
    expiry = read_expiry(token)
    return -1 if expiry is None else expiry


def _texts(column: pa.Array) -> list[str]:
    texts: list[str] = column.to_numpy(zero_copy_only=False).tolist()
    return texts


def _words(column: pa.DictionaryArray) -> list[str]:
    """Return the words of a dictionary-encoded column: a look-up each; None where there is none."""
    words = [*column.dictionary.to_pylist(), None]
    return [words[code] for code in column.indices.fill_null(len(words) - 1).to_numpy().tolist()]


def _sign(key: TokenKey, claims: Claims) -> str:
    chance = None if claims.propensity is None else _pack_double(claims.propensity)
    message = _encode((*claims[:5], chance, claims.expiry))
    return urlsafe_b64encode(key.mac.digest(message))[:-1].decode()
