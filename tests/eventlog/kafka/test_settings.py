"""Settings of Kafka: URL, variables, file; every mistake says what to write; secrets are not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.contracts.log import LogError
from pipeline.eventlog.kafka.settings import parse_kafka_url


def test_url_names_brokers_and_the_prefix_of_all_topics() -> None:
    settings = parse_kafka_url("kafka://one:9092,[::1]:9093/site-a.votes", {})
    assert settings.servers == ("one:9092", "[::1]:9093")
    assert settings.topic_name("control") == "site-a.control"
    assert settings.url == "kafka://one:9092,[::1]:9093/site-a.votes"
    assert parse_kafka_url("kafka://one:9092", {}).topic_name("votes") == "votes"


@pytest.mark.parametrize(
    "url", ["kafka://", "kafka://host", "kafka://host:port", "kafka://a:1,/votes", "kafka://a:1/ballots", "kafka:a:1"]
)
def test_wrong_url_says_what_to_write(url: str) -> None:
    with pytest.raises(LogError, match="write kafka://HOST:PORT"):
        parse_kafka_url(url, {})


def test_login_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(LogError) as failure:
        parse_kafka_url("kafka://ann:secret@host:9092/votes", {})
    assert "secret" not in str(failure.value)
    assert "KWISE_KAFKA_PASSWORD" in str(failure.value)


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("pem")
    file = tmp_path / "kafka.toml"
    file.write_text(f'username = "ann"\npassword = "one"\nca = "{ca}"\n')
    settings = parse_kafka_url("kafka://h:1", {"KWISE_KAFKA_FILE": str(file), "KWISE_KAFKA_PASSWORD": "two"})
    assert settings.security_protocol == "SASL_SSL"
    assert settings.confluent()["sasl.password"] == "two"
    assert settings.kafka_python()["sasl_plain_username"] == "ann"
    assert settings.kafka_python()["ssl_cafile"] == settings.confluent()["ssl.ca.location"] == str(ca)
    assert "two" not in settings.describe() + repr(settings)


@pytest.mark.parametrize(
    ("variables", "fragment"),
    [
        ({"USERNAME": "ann", "TLS": "0"}, "PASSWORD"),
        ({"PASSWORD": "x"}, "USERNAME"),
        ({"USERNAME": "ann", "PASSWORD": "x"}, "TLS=1"),
        ({"TLS": "yes please"}, "write 1 or 0"),
        ({"CA": "/nowhere/ca.pem"}, "is no file"),
        ({"MECHANISM": "MD5", "TLS": "1"}, "SCRAM-SHA-512"),
        ({"USER": "ann"}, "is not known"),
        ({"FILE": "/nowhere/kafka.toml"}, "cannot be read"),
    ],
)
def test_wrong_variable_says_what_to_write(variables: dict[str, str], fragment: str) -> None:
    with pytest.raises(LogError, match=fragment):
        parse_kafka_url("kafka://h:1", {f"KWISE_KAFKA_{name}": value for name, value in variables.items()})


def test_plain_settings_ask_for_nothing() -> None:
    settings = parse_kafka_url("kafka://h:1", {})
    assert settings.security_protocol == "PLAINTEXT"
    assert settings.kafka_python() == {"bootstrap_servers": ["h:1"], "security_protocol": "PLAINTEXT"}
