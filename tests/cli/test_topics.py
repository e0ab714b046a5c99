"""`kwise topics`: what it prints, and its exit codes. What it does to brokers is tested in tests/eventlog/kafka."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import kwise
from pipeline.eventlog.kafka.settings import parse_kafka_url
from pipeline.eventlog.kafka.topics import create_topics

NOWHERE = "kafka://127.0.0.1:1/votes"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(kwise, ["topics", *(str(each) for each in arguments)])


def test_created_topics_are_listed_and_pass_the_check(kafka_url: str, kafka_prefix: str) -> None:
    missing = invoke("check", kafka_url, "--format", "json")
    assert missing.exit_code == 1
    assert {row["advice"] for row in json.loads(missing.stdout)} == {f"kwise topics create {kafka_url}"}
    made = invoke("create", kafka_url, "--partitions", 3, "--format", "json")
    assert json.loads(made.stdout) == [
        {"topic": f"{kafka_prefix}{topic}", "change": "created"} for topic in ("votes", "control", "matchups")
    ]
    checked = invoke("check", kafka_url, "--format", "csv")
    assert checked.exit_code == 0
    assert f'{kafka_prefix}votes,ok,"3 partitions, 1 copy, kept for ever",' in checked.stdout


def test_partitions_are_added_only_when_asked_for(kafka_url: str) -> None:
    create_topics(parse_kafka_url(kafka_url, {}), {"votes": 2})
    assert json.loads(invoke("create", kafka_url, "--format", "json").stdout)[0]["change"] == "unchanged"
    grown = invoke("create", kafka_url, "--partitions", 4, "--format", "json")
    assert json.loads(grown.stdout)[0]["change"] == "partitions 2 -> 4"


def test_brokers_without_access_control_refuse_grants(kafka_url: str) -> None:
    for arguments in (("grant", kafka_url, "voter", "ann"), ("revoke", kafka_url, "ann")):
        result = invoke(*arguments)
        assert result.exit_code == 1
        assert "the brokers have no authorizer" in result.stderr


@pytest.mark.parametrize("verb", [["create"], ["check"]])
def test_brokers_out_of_reach_are_named(verb: list[str]) -> None:
    result = invoke(*verb, NOWHERE)
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_wrong_use_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    empty = tmp_path / "password"
    empty.write_text("\n")
    for arguments, said in (
        (["grant", NOWHERE, "voter", "*"], "is no user"),
        (["grant", NOWHERE, "voter", "ann", "--password-file", empty], "holds no password"),
        (["grant", NOWHERE, "king", "ann"], "'king' is not one of"),
        (["revoke", NOWHERE, ""], "is no user"),
        (["create", NOWHERE, "--partitions", 0], "0 is not in the range"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
    wrong = invoke("check", "kafka://localhost/votes")
    assert wrong.exit_code == 1
    assert "write kafka://HOST:PORT" in wrong.stderr
