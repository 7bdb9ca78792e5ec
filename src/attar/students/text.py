"""The plain student for texts: the mean of the embeddings of hashed words."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attar.checks import AttarError
from attar.students.family import Family

#: Rows of the table of embeddings for each of their dimensions.
_ROWS = 64


class WordBag(nn.Module):
    """Words to embeddings by hashing, their mean, one hidden layer.

    After Joulin, Grave, Bojanowski and Mikolov, "Bag of tricks for efficient text
    classification", EACL 2017 (fastText), with two hashes a word as Svenstrup, Hansen and
    Winther, "Hash embeddings for efficient word representations", NIPS 2017: where two words
    meet in one row, they hardly meet in the other too.

    Args:
        width: Dimensions of an embedding; the table has 64 rows for each.
        input_shape: ``(L,)``: so many word numbers a text, 0 where there is no word.
        classes: How many logits come out.

    Raises:
        AttarError: If the shape is another one.
    """

    def __init__(self, width: int, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        if len(input_shape) != 1:
            raise AttarError(
                f"word_bag: needs rows of word numbers, of shape (L,). Got {tuple(input_shape)}; "
                "attar.data.word_numbers makes them of texts."
            )
        self.rows = _ROWS * width
        self.table = nn.Embedding(self.rows, width)
        nn.init.normal_(self.table.weight, std=1 / math.sqrt(width))
        self.hidden = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, words: Tensor) -> Tensor:
        """Logits ``[N, C]`` of word numbers ``[N, L]``, whole numbers of any type."""
        words = words.to(torch.int64)
        there = (words != 0).to(torch.float32).unsqueeze(2)  # (N, L, 1)
        # Two rows a word, by the remainder of its number and by that of the quotient: two words
        # have both in common only where their numbers agree modulo rows ** 2.
        found = self.table(words % self.rows) + self.table((words // self.rows) % self.rows)
        # By the root of the count: the mean of long texts would be all but nothing.
        mean = (found * there).sum(1) / there.sum(1).clamp_min(1).sqrt()
        logits: Tensor = self.head(F.relu(self.hidden(mean)))
        return logits


#: Sized by the dimensions of its embeddings; for texts as word numbers.
word_bag = Family("word_bag", WordBag, standardized=False)
