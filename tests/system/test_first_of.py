"""The first of several names, and how many others there are."""

from precsearch.system.printable import first_of


def test_all_are_named_where_they_are_few() -> None:
    assert first_of(["a", "b"], 2) == "a, b"
    assert first_of([], 2) == ""


def test_the_others_are_counted() -> None:
    assert first_of(["a", "b", "c", "d"], 3) == "a, b, c and 1 more"
    assert first_of(["a: 1", "b: 2", "c: 3"], 1, "; ") == "a: 1 and 2 more"
