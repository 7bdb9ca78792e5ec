"""Texts as word numbers: stable, cut, filled."""

import zlib

import pytest
import torch

from attar.checks import AttarError
from attar.data import word_numbers
from attar.students import word_bag


def test_a_word_has_the_number_that_its_bytes_say() -> None:
    numbers = word_numbers(["Héllo, hello!"], length=4)
    assert numbers.dtype == torch.int32
    assert numbers[0].tolist() == [
        1 + zlib.crc32("héllo".encode()) % (2**31 - 2),
        1 + zlib.crc32(b"hello") % (2**31 - 2),
        0,
        0,
    ]


def test_long_texts_are_cut_and_short_ones_filled() -> None:
    numbers = word_numbers(["a b c d", "", "d"], length=3)
    assert (numbers == 0).sum(dim=1).tolist() == [0, 3, 2]


def test_pairs_follow_their_second_word() -> None:
    plain = word_numbers(["a b a b"], length=8)[0]
    paired = word_numbers(["a b a b"], length=8, pairs=True)[0].tolist()
    a, b = plain[:2].tolist()
    ab, ba = paired[2], paired[4]
    assert paired == [a, b, ab, a, ba, b, ab, 0]
    assert len({a, b, ab, ba}) == 4


def test_a_student_takes_them() -> None:
    model = word_bag.model(4, input_shape=(6,), classes=3)
    assert model(word_numbers(["one two", ""], length=6)).shape == (2, 3)


@pytest.mark.parametrize(
    ("texts", "said"),
    [("one", "Got a single string"), (["a", None], "Got NoneType at place 1")],
)
def test_what_is_no_text_is_refused(texts: object, said: str) -> None:
    with pytest.raises(AttarError, match=said):
        word_numbers(texts)  # type: ignore[arg-type]
