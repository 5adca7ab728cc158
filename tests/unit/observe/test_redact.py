import pytest

from tasuki.observe.redact import is_secret_name, redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("nothing: here", "nothing: here"),
        ("http://host:80/path", "http://host:80/path"),
        ("redis://user:hunter2@host:6379/0", "redis://user:***@host:6379/0"),
        ("amqp://:hunter2@host", "amqp://:***@host"),
        ("postgres://u:p@ss@host", "postgres://u:***@host"),
        ("password=hunter2 next", "password=*** next"),
        ("PGPASSWORD=hunter2", "PGPASSWORD=***"),
        ("AWS_SECRET_ACCESS_KEY=abc/def", "AWS_SECRET_ACCESS_KEY=***"),
        ("{'password': 'a b', 'x': 1}", "{'password': '***', 'x': 1}"),
        (r'{"api_key":"k\"x","n":2}', '{"api_key":"***","n":2}'),
        (r"{\"token\": \"abc\", \"n\": 1}", r"{\"token\": \"***\", \"n\": 1}"),
        ("password='cut off", "password=***"),
        ("password='cut off\nthe next line", "password=***\nthe next line"),
        ('{"private_key": "-----BEGIN RSA PRIVATE KEY-----\\nMII', '{"private_key": ***'),
        (r'{"x": "{\"token\": \"cut off', r'{"x": "{\"token\": \"***\"'),
        ('{"token": "' + "long value " * 900 + '"}', '{"token": "***"}'),
        ("token=" + "x" * 9000 + " next", "token=*** next"),
        ("bearer " + "x" * 9000 + " next", "bearer *** next"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("got bearer abcdefgh", "got bearer ***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END", "-----BEGIN RSA PRIVATE KEY-----***-----END"),
        ("tokens: 7, compass: north, bypass=1", "tokens: 7, compass: north, bypass=1"),
    ],
)
def test_redact(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize("name", ["password", "apiKey", "api_key", "db_token", "userPassword", "DB_PASS", "dsn"])
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["", "tokens", "partition_key", "key", "compass", "queue", "message_id"])
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "piece", ["://a:", "password=", "password='", 'password:"\\"', "-----BEGIN PRIVATE KEY-----", "bearer ", "a"]
)
def test_no_text_makes_it_slow(piece: str) -> None:
    assert redact(piece * (65_536 // len(piece)))
