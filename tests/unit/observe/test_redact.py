import time

import pytest

from tasuki.observe.redact import is_secret_name, masked, redact


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
        (r'{"x": "{\"token\": \"cut off', r'{"x": "{\"token\": ***'),
        (r'{"x": "{\"token\": \"cut off", "y": 1}', r'{"x": "{\"token\": ***", "y": 1}'),
        ('{"password": {"old": "a", "new": ["b}", "c"]}, "n": 1}', '{"password": "***", "n": 1}'),
        ('{"password": {"old": "a", "new": ["cut o', '{"password": "***"'),
        ('{"passwords": ["a", "b"], "n": 1}', '{"passwords": "***", "n": 1}'),
        ("{'tokens': 7, 'access_tokens': ('a', 'b')}", "{'tokens': 7, 'access_tokens': '***'}"),
        ("secret={a: b} next", "secret=*** next"),
        ("secret = {\nthe next line", "secret = ***\nthe next line"),
        (r'{"x": "{\"password\": {\"a\": \"b\"}, \"n\": 1}"}', r'{"x": "{\"password\": \"***\", \"n\": 1}"}'),
        (r'{"x": "{\"password\": {\"a\": \"cut off", "n": 1}', r'{"x": "{\"password\": \"***\"", "n": 1}'),
        (r'{"pass\u0077ord": "x", "n": 1}', r'{"pass\u0077ord": "***", "n": 1}'),
        (r'{"x": "{\"pass\\u0077ord\": \"x\"}"}', r'{"x": "{\"pass\\u0077ord\": \"***\"}"}'),
        ('{"auth": "Basic dXNlcjpwYXNz", "n": 1}', '{"auth": "***", "n": 1}'),
        (
            '{"password": 1234, "pwd": null, "token": "", "secret": []}',
            '{"password": "***", "pwd": null, "token": "", "secret": []}',
        ),
        ('Cookie: a=1; session="2"; c=3\nnext: x', "Cookie: ***\nnext: x"),
        ("{'headers': 'Cookie: a=1; b=2', 'n': 1}", "{'headers': 'Cookie: ***', 'n': 1}"),
        ('Authorization: Digest username="x", response="y"\nnext', "Authorization: Digest ***\nnext"),
        (r"a line\npass=hunter2 next", r"a line\npass=*** next"),
        ("sent Basic dXNlcjpwYXNz, by basic authentication", "sent Basic ***, by basic authentication"),
        ("sent Basic dXNlcjpwYXN", "sent Basic ***"),
        ("sent eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_1 on", "sent *** on"),
        ("redis://user:" + "x" * 9000 + "@host", "redis://user:***@host"),
        ("redis://user:cuto", "redis://user:***"),
        ("redis://user:cu… (+9 characters)", "redis://user:***… (+9 characters)"),
        ("redis://host:63", "redis://host:63"),
        ("redis://host:63… (+9 characters)", "redis://host:63… (+9 characters)"),
        ("token::parse secret://host/path", "token::parse secret://host/path"),
        ("it needs a token: write one into a file", "it needs a token: write one into a file"),
        ("No token: every program may act", "No token: every program may act"),
        ("it needs a token: s3cret", "it needs a token: ***"),
        ("the token: write one", "the token: *** one"),
        ("a basic xxxxxxxxx thing, a basic xxxxxxx-x one", "a basic xxxxxxxxx thing, a basic xxxxxxx-x one"),
        ("author: Bob, secretary: Eve, authority=x", "author: Bob, secretary: Eve, authority=x"),
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


SECRET = r"""
password passwords Password userPassword user_password_hash password2 DB_PASS pass pwd passwd passphrase dsn
secret secrets client_secret secret_value clientSecretValue token db_token token_value tokenHash access_tokens
refreshTokens apiKey api_key api_keys apikeys X-Api-Key secret_key access_key_id private_key signing_keys
sessionid session_id PHPSESSID sessionKey jwt user_jwt auth basic_auth proxy-auth Authorization
passcode ssh_key private_key_pem token_b64 stripe_secret_live
authorization_header Cookie Set-Cookie cookies credential credentials signature x_signature connectionString
pass\u0077ord
"""
PLAIN = r"""
tokens tokens_used token_count max_tokens tokenizer token_type partition_key primary_key key keys keyboard
compass bypass passenger passed queue message_id author authors authority authorized authenticated oauth
secretary secretariat cookie_consent session sessions session_started signature_date designature_id public_key
idempotency_key note
"""


@pytest.mark.parametrize("name", SECRET.split())
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)
    assert masked({name: "x", "n": 1}) == {name: "***", "n": 1}
    assert redact(f"{name}=x n=1") == f"{name}=*** n=1" or "\\" in name
    assert redact(f'{{"{name}": ["x"], "n": 1}}') == f'{{"{name}": "***", "n": 1}}'


@pytest.mark.parametrize("name", ["", *PLAIN.split()])
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)
    assert masked({name: "x"}) == {name: "x"}
    assert redact(f'{name}=x {{"{name}": 12}}') == f'{name}=x {{"{name}": 12}}'


def test_bytes_are_masked_whether_they_are_text_or_have_some_in_them() -> None:
    assert masked({"data": b"\xffpassword=x"}) == {"data": b"\xffpassword=***"}


def test_a_long_name_is_judged_by_its_end() -> None:
    assert is_secret_name("x" * 9000 + "_api_key")
    assert is_secret_name("password_" + "x" * 9000)
    assert not is_secret_name("api_key_" + "x" * 9000)


@pytest.mark.parametrize("value", [None, True, False, "", b"", [], {}])
def test_what_is_no_secret_under_any_name_is_shown(value: object) -> None:
    assert masked({"password": value}) == {"password": value}


def test_all_within_a_secret_is_secret() -> None:
    value = {"credentials": {"user": "a", "codes": [1, 2.5, True, b"x"]}, "at": b"token=x", "n": (1, "pwd: y")}
    assert masked(value) == {"credentials": "***", "at": b"token=***", "n": [1, "pwd: ***"]}
    assert masked(value, keeps_types=True) == {
        "credentials": {"user": "***", "codes": [0, 0.0, True, b"***"]},
        "at": b"token=***",
        "n": [1, "pwd: ***"],
    }


def test_a_value_that_is_nested_too_deep_is_masked() -> None:
    value: object = "deep"
    for _ in range(5000):
        value = [value]
    assert repr(masked(value)).strip("[]") == "'***'"


@pytest.mark.parametrize(
    "piece",
    [
        "://a:",
        "password=",
        "password='",
        'password:"\\"',
        "-----BEGIN PRIVATE KEY-----",
        "bearer ",
        "a",
        "secret={",
        "\\",
        'secret:{"',
        "eyJ-",
        "eyJhbGciOiJ.",
        "basic aaaaaaaa",
        "token_1",
        "a1",
        '\\"',
        "'",
        "Cookie: a=",
        "secret=\\\\'",
        '"secret": [',
    ],
)
def test_no_text_makes_it_slow(piece: str) -> None:
    began = time.thread_time()
    assert redact(piece * (65_536 // len(piece)))
    assert time.thread_time() - began < 2.0, "it takes some 10 ms, and quadratic patterns take minutes"


def test_a_bracket_in_a_quoted_text_does_not_end_its_container() -> None:
    text = redact("""{"password": {"a": "b}c]d", "g": "it's }", "e": "f"}, "next": "shown"}""")
    assert "b}c" not in text
    assert '"f"' not in text
    assert '"next": "shown"' in text
