from __future__ import annotations

import pytest
import torch

from attar.checks import AttarError
from attar.students import word_bag


def student(length=6, classes=3):
    torch.manual_seed(0)
    return word_bag.model(4, input_shape=(length,), classes=classes).eval()


def test_the_order_of_words_and_what_is_no_word_do_not_count():
    model = student()
    words = torch.tensor([[5, 900_001, 77, 0, 0, 0], [0, 77, 0, 5, 900_001, 0]])
    first, second = model(words)
    assert torch.allclose(first, second)
    assert not torch.allclose(first, model(torch.tensor([[5, 900_002, 77, 0, 0, 0]]))[0])


def test_numbers_that_came_as_floats_are_the_same_words():
    words = torch.randint(1, 2**24, (4, 6))
    assert torch.equal(student()(words), student()(words.float()))


def test_by_hand():
    model = student(length=2)
    table = model.table.weight
    a, b = table[3] + table[0], table[300 % 256] + table[300 // 256]
    hidden = model.hidden((a + b) / 2**0.5).relu()
    torch.testing.assert_close(model(torch.tensor([[3, 300]]))[0], model.head(hidden))


def test_a_text_without_words_gets_an_answer():
    assert bool(torch.isfinite(student()(torch.zeros(1, 6))).all())


def test_rows_of_another_shape_are_refused():
    with pytest.raises(AttarError, match=r"word_bag: needs rows of word numbers.*\(1, 8, 8\)"):
        word_bag.model(4, input_shape=(1, 8, 8), classes=3)
