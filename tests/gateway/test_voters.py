"""Voters: one id an epoch, made of a cookie that only we make."""

from __future__ import annotations

from producers.gateway.voters import EPOCH_DAYS, Voters, is_identity

DAY_MS = 86_400_000
IDENTITY, OTHER = "0" * 31 + "1", "0" * 31 + "2"


def test_an_id_stays_for_an_epoch_and_cannot_be_followed_into_the_next() -> None:
    voters = Voters("secret")
    start = 200 * EPOCH_DAYS * DAY_MS
    first = voters.voter_id(IDENTITY, start)
    assert first == voters.voter_id(IDENTITY, start + EPOCH_DAYS * DAY_MS - 1)
    later = voters.voter_id(IDENTITY, start + EPOCH_DAYS * DAY_MS)
    assert (first.partition(".")[0], later.partition(".")[0]) == ("v200", "v201")
    assert first.partition(".")[2] != later.partition(".")[2]
    assert all(voters.is_voter(IDENTITY, voter) for voter in (first, later))
    assert not voters.is_voter(OTHER, first)
    assert not voters.is_voter(IDENTITY, first.replace("v200", "v201"))
    assert not voters.is_voter(IDENTITY, "nonsense")


def test_ids_depend_on_the_secret_and_do_not_hold_the_cookie() -> None:
    one, two = Voters("secret").voter_id(IDENTITY, 0), Voters("another").voter_id(IDENTITY, 0)
    assert one != two
    assert IDENTITY not in one
    assert len(one) == len("v0.") + 32


def test_only_our_cookies_are_taken() -> None:
    voters = Voters("secret")
    cookie = voters.make_cookie(IDENTITY)
    assert voters.read_cookie(cookie) == IDENTITY
    made_up = (None, "", IDENTITY, f"{IDENTITY}.{'0' * 16}", cookie[:-1], f"{cookie} ", cookie.replace("1.", "2."))
    assert [voters.read_cookie(each) for each in made_up] == [None] * len(made_up)
    assert Voters("another").read_cookie(cookie) is None


def test_identities_are_32_hex_digits() -> None:
    assert is_identity(IDENTITY)
    assert not any(map(is_identity, ("", "0" * 31, "0" * 33, "g" * 32, "A" * 32)))
