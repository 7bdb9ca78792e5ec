"""Texts as rows of word numbers, for students that look words up by hashing."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from attar.checks import AttarError, check_number

_WORD = re.compile(r"\w+")
#: Numbers stay below this, so that they fit into int32; 0 stands for "no word".
_NUMBERS = 2**31 - 2


def word_numbers(texts: Sequence[str], *, length: int = 256, pairs: bool = False) -> Tensor:
    """The words of each text as numbers, the same on every machine; no vocabulary is kept.

    A word is a run of letters, digits and underscores, in lower case; its number is a hash
    (CRC-32) of its UTF-8 bytes. Two words may share a number, one pair in two billion.

    Args:
        texts: N strings.
        length: How many numbers a row has, 1 or more: longer texts are cut off, shorter ones
            filled with 0.
        pairs: Whether each pair of neighbouring words has a number, too: after its second word.

    Returns:
        ``[N, length]`` int32, what :data:`attar.students.word_bag` takes.

    Raises:
        AttarError: If a text is not a string.

    Example:
        >>> numbers = word_numbers(["Big, small.", "small"], length=3)
        >>> bool(numbers[0, 1] == numbers[1, 0]), numbers[1, 1:].tolist()
        (True, [0, 0])

    References:
        Weinberger et al. 2009, *Feature Hashing for Large Scale Multitask Learning*,
        https://arxiv.org/abs/0902.2206
    """
    check_number("word_numbers", "length", length, low=1, whole=True)
    if isinstance(texts, str):
        raise AttarError("word_numbers: texts must be a list of strings. Got a single string.")
    result = torch.zeros(len(texts), length, dtype=torch.int32)
    known: dict[str, int] = {}
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise AttarError(
                f"word_numbers: texts must be strings. Got {type(text).__name__} at place {row}; "
                "put a text in the place of what is missing, the empty one if need be."
            )
        found: list[int] = []
        before = None
        for word in _WORD.findall(text.lower()):
            terms = [word] if before is None or not pairs else [word, f"{before} {word}"]
            for term in terms:
                if term not in known:
                    known[term] = 1 + zlib.crc32(term.encode()) % _NUMBERS
                found.append(known[term])
            before = word
            if len(found) >= length:
                break
        result[row, : len(found[:length])] = torch.tensor(found[:length], dtype=torch.int32)
    return result
