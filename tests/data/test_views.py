from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch

from attar.checks import AttarError
from attar.data import Views, crop, flip, shift
from attar.data.draws import Draws, mix, mix_word, signed
from attar.types import VIEW


def everything() -> Views:
    return Views([shift(2), flip(), crop(1)], 1000, seed=7)


def pictures(count: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    return (torch.arange(count * 3 * 6 * 5).reshape(count, 3, 6, 5) * 37 % 256).to(dtype)


#: Run here and in another process.
DIGEST = """
import hashlib, torch
from attar.data import Views, crop, flip, shift
torch.manual_seed(99)
ids = torch.arange(64) % 9 * 2**40 + torch.arange(64) * 1000
images = (torch.arange(64 * 90).reshape(64, 3, 6, 5) * 37 % 256).to(torch.uint8)
out = Views([shift(2), flip(), crop(1)], 1000, seed=7)(images, ids)
digest = hashlib.sha256(out.numpy().tobytes()).hexdigest()
"""


def test_splitmix64_gives_the_published_numbers():
    # The first outputs of splitmix64 from state 1234567, as published with its C code.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    states = [1234567 + (step + 1) * 0x9E3779B97F4A7C15 for step in range(5)]
    assert [mix_word(state) for state in states] == expected
    words = mix(torch.tensor([signed(state) for state in states]))
    assert [word % 2**64 for word in words.tolist()] == expected


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_same_id_is_the_same_input_alone_in_any_batch_and_any_order(dtype):
    inputs = pictures(40, dtype)
    ids = torch.arange(40) % 5 * VIEW + 2**39 + torch.arange(40)
    together = everything()(inputs, ids)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(everything()(inputs[order], ids[order]), together[order])
    for place in range(40):
        one = slice(place, place + 1)
        assert torch.equal(everything()(inputs[one], ids[one]), together[one])


def test_another_process_sees_the_same_bits():
    here: dict[str, str] = {}
    exec(DIGEST, here)
    there = subprocess.run(
        [sys.executable, "-c", DIGEST + "print(digest)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert there.stdout.strip() == here["digest"]


def test_the_bits_are_those_of_the_first_release():
    # A store of soft targets outlives a release: if this changes, stored views are other inputs.
    draws = Draws(mix(torch.tensor([VIEW, VIEW + 1, 2 * VIEW])), 5)
    assert draws.integers(-3, 4).tolist() == [-3, -2, -3]
    uniforms = [0.887497988284, 0.484086972161, 0.946191658507]
    assert [round(x, 12) for x in draws.uniform().tolist()] == uniforms


def test_no_random_state_is_drawn_from():
    before = torch.get_rng_state()
    everything()(pictures(8), torch.arange(8) + VIEW)
    assert torch.equal(torch.get_rng_state(), before)


def test_view_0_comes_back_untouched_also_beside_others():
    inputs = pictures(6)
    ids = torch.tensor([0, VIEW + 1, 2, 3 * VIEW + 3, VIEW - 1, 5])
    kept = inputs.clone()
    seen = everything()(inputs, ids)
    assert torch.equal(seen[[0, 2, 4, 5]], inputs[[0, 2, 4, 5]])
    assert torch.equal(inputs, kept)  # and the data itself is never written to
    assert everything()(inputs, torch.arange(6)) is inputs


@dataclass
class Fixed:
    """Draws that give the numbers they were made with."""

    numbers: list[list[int]]

    def integers(self, low: int, high: int) -> torch.Tensor:
        assert low == 0
        return torch.tensor(self.numbers.pop(0))


def test_shift_by_hand():
    image = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8)
    batch = image.expand(4, 1, 2, 3)
    # The corner of the window in the padded image: (1, 1) is the image as it is.
    moved = shift(1)(batch, Fixed([[1, 0, 2, 1], [1, 1, 1, 2]]))
    assert moved[:, 0].tolist() == [
        [[1, 2, 3], [4, 5, 6]],
        [[0, 0, 0], [1, 2, 3]],  # down
        [[4, 5, 6], [0, 0, 0]],  # up
        [[2, 3, 0], [5, 6, 0]],  # left
    ]
    assert moved.dtype == torch.uint8


def test_crop_by_hand():
    image = torch.tensor([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]])
    moved = crop(1)(image.expand(2, 3, 3), Fixed([[0, 2], [0, 1]]))
    assert moved.tolist() == [
        [[5, 4, 5], [2, 1, 2], [5, 4, 5]],  # up and left, where the border is mirrored
        [[4, 5, 6], [7, 8, 9], [4, 5, 6]],
    ]


@pytest.mark.parametrize("transform", [shift(2), crop(2)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_windows_equal_naive_loops(transform, dtype):
    inputs = pictures(20, dtype)
    words = mix(torch.arange(20) + VIEW)
    again = Draws(words, 3)
    top, left = again.integers(0, 5), again.integers(0, 5)
    mode = "constant" if transform == shift(2) else "reflect"
    padded = torch.nn.functional.pad(inputs.float(), (2, 2, 2, 2), mode=mode)
    naive = torch.empty(20, 3, 6, 5)
    for n in range(20):
        for i in range(6):
            for j in range(5):
                naive[n, :, i, j] = padded[n, :, i + top[n], j + left[n]]
    assert torch.equal(transform(inputs, Draws(words, 3)), naive.to(dtype))


def test_flip_mirrors_left_and_right_half_of_the_time():
    inputs = pictures(400)
    out = Views([flip()], 2)(inputs, torch.arange(400) + VIEW)
    mirrored = [torch.equal(out[i], inputs[i].flip(-1)) for i in range(400)]
    same = [torch.equal(out[i], inputs[i]) for i in range(400)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 160 < sum(mirrored) < 240  # 4 standard deviations


def draws_for(ids: torch.Tensor, key: int = 1) -> Draws:
    return Draws(mix(ids * signed(0x9E3779B97F4A7C15)), key)


@pytest.mark.parametrize("ids", [torch.arange(50_000), torch.arange(50_000) * VIEW // 4])
def test_draws_are_uniform_over_neighbouring_rows_and_over_views(ids):
    counts = torch.bincount(draws_for(ids).integers(0, 25), minlength=25)
    expected = 50_000 / 25
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert 8 < chi_square < 52  # 24 degrees of freedom: both tails beyond about 1 in 1000
    uniform = draws_for(ids).uniform()
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert abs(float(uniform.mean()) - 0.5) < 4 * (1 / 12 / 50_000) ** 0.5


def test_draws_of_one_row_and_of_neighbours_are_not_correlated():
    draws = draws_for(torch.arange(50_000))
    columns = [draws.uniform(), draws.uniform(), draws_for(torch.arange(50_000), 2).uniform()]
    columns.append(draws_for(torch.arange(50_000) + 1).uniform())
    correlation = torch.corrcoef(torch.stack(columns))
    off_diagonal = correlation - torch.eye(4)
    assert float(off_diagonal.abs().max()) < 4 / 50_000**0.5


def test_every_shift_is_reached_and_seeds_transforms_and_views_differ():
    image = torch.zeros(3000, 1, 5, 5)
    image[:, 0, 2, 2] = 1
    ids = torch.arange(3000) + VIEW
    places = Views([shift(2)], 2)(image, ids).flatten(1).argmax(1)
    assert torch.bincount(places, minlength=25).min() > 70  # 120 expected
    for other in (Views([shift(2)], 2, seed=1), Views([flip(), shift(2)], 2)):
        assert (other(image, ids).flatten(1).argmax(1) != places).float().mean() > 0.9
    later = Views([shift(2)], 3)(image, ids + VIEW).flatten(1).argmax(1)
    assert (later != places).float().mean() > 0.9


def noisy(inputs: torch.Tensor, draws: Draws) -> torch.Tensor:
    return inputs + draws.uniform().to(inputs.dtype)[:, None]


def test_a_function_of_yours_takes_vectors_and_its_name_is_the_definition():
    views = Views([noisy, shift(3)], 4, seed=2)
    assert "noisy" in views.definition
    assert "Shift(pixels=3)" in views.definition
    assert views.definition != Views([shift(3), noisy], 4, seed=2).definition
    only = Views([noisy], 2)
    out = only(torch.zeros(2, 3), torch.tensor([5, VIEW + 5]))
    assert out[0].tolist() == [0, 0, 0]
    assert 0 < float(out[1, 0]) == float(out[1, 2]) < 1


class Nameless:
    def __call__(self, inputs, draws):
        return inputs


@pytest.mark.parametrize("transform", [lambda inputs, draws: inputs, Nameless()])
def test_a_transform_without_a_lasting_name_is_refused(transform):
    with pytest.raises(AttarError, match=r"stays the same from run to run.*Got .*(lambda|0x)"):
        Views([transform], 2)


def halved(inputs: torch.Tensor, draws: Draws) -> torch.Tensor:
    return inputs[..., ::2]


def floated(inputs: torch.Tensor, draws: Draws) -> torch.Tensor:
    return inputs / 2


@pytest.mark.parametrize("transform", [halved, floated])
def test_a_transform_that_changes_shape_or_dtype_is_named(transform):
    with pytest.raises(AttarError, match=rf"{transform.__name__} must keep shape and dtype"):
        Views([transform], 2)(pictures(2), torch.tensor([0, VIEW]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Views([shift(1)], 0), "'count' parameter of Views"),
        (lambda: Views([shift(1)], 2, seed=-1), "'seed' parameter of Views"),
        (lambda: Views(shift(1), 2), r"must be a list, \[Shift\(pixels=1\)\]"),
        (lambda: Views(["shift"], 2), "must be a function"),
        (lambda: shift(0), "'pixels' parameter of shift"),
        (lambda: shift(1.5), "'pixels' parameter of shift"),
        (lambda: crop(0), "'padding' parameter of crop"),
        (lambda: Draws(torch.zeros(1, dtype=torch.int64), 0).integers(2, 2), "above low"),
    ],
)
def test_broken_definitions_are_refused_at_once(make, message):
    with pytest.raises(AttarError, match=message):
        make()


def test_vectors_and_too_small_images_are_refused():
    ids = torch.tensor([VIEW])
    with pytest.raises(AttarError, match=r"shift: needs images.*\(1, 64\).*reshape"):
        Views([shift(1)], 2)(torch.zeros(1, 64), ids)
    with pytest.raises(AttarError, match=r"crop: .*less than height and width, 6 and 5"):
        Views([crop(5)], 2)(pictures(1), ids)
