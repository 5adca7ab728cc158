import pytest

from tasuki.scalars import Loose, Substituted, read_scalar, settle


@pytest.mark.parametrize("text", ["no", "yes", "on", "off", "y", "n", "No", "ON"])
def test_words_that_yaml_1_1_takes_for_booleans_are_text(text: str) -> None:
    assert read_scalar(text) == text


@pytest.mark.parametrize(
    "text", ["12:30:00", "2024-01-01", "0x1F", "0o17", "1_000", ".inf", ".nan", "1e999", "v1", "=", "١٢"]
)
def test_what_only_some_parsers_take_for_numbers_is_text(text: str) -> None:
    assert read_scalar(text) == text
    assert type(read_scalar(text)) is str


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-7", -7),
        ("1000000000000", 10**12),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2E-2", -0.02),
    ],
)
def test_decimal_numbers_are_numbers(text: str, value: float) -> None:
    assert read_scalar(text) == value
    assert type(read_scalar(text)) is type(value)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("FALSE", False), ("false", False)])
def test_true_and_false_are_the_only_booleans(text: str, value: bool) -> None:
    assert read_scalar(text) is value


@pytest.mark.parametrize("text", ["", "~", "null", "NULL"])
def test_nothing_is_none(text: str) -> None:
    assert read_scalar(text) is None


@pytest.mark.parametrize(("text", "number"), [("010", 10), ("+5", 5), ("-007", -7), ("00", 0)])
def test_an_integer_that_would_not_read_back_the_same_keeps_its_text_until_a_number_is_wanted(
    text: str, number: int
) -> None:
    value = read_scalar(text)
    assert isinstance(value, Loose)
    assert value == text
    assert settle(value) == number


def test_a_number_of_a_thousand_digits_stays_text() -> None:
    assert type(read_scalar("9" * 1000)) is str


def test_only_loose_text_settles() -> None:
    assert settle("10") == "10"
    assert settle(5) == 5
    assert settle(Substituted("4")) == 4
    assert settle(Substituted("0.5")) == 0.5
    assert settle(Substituted("true")) is True
    assert settle(Substituted("many")) == "many"
    assert settle(Substituted("null")) == "null"
