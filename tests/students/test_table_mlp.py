from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from attar.checks import AttarError
from attar.columns import describe_columns, encode_columns
from attar.students import PiecewiseLinear, count_parameters, fit_to, table_mlp
from attar.students.table_mlp import BINS, SLOT

TABLE = {
    "age": [20.0, 30.0, None, 60.0, 35.0, 41.0],
    "city": ["Oslo", "Rome", "Rome", "Lima", "Oslo", "Rome"],
    "same": [7.0] * 6,
}
COLUMNS = describe_columns(TABLE, lenient=True)
ROWS = torch.from_numpy(encode_columns(TABLE, COLUMNS))  # age, its gap, Lima, Oslo, Rome, same


def model(width: int = 4, classes: int = 3) -> torch.nn.Module:
    family, encoding = table_mlp.fit(ROWS, COLUMNS)
    return family.model(width, input_shape=(6,), classes=classes, scaler=encoding)


def by_hand(value: float, edges: list[float]) -> list[float]:
    """Equation 1 of the paper, ended at both sides."""
    parts = []
    for low, high in itertools.pairwise(edges):
        parts.append(min(1.0, max(0.0, (value - low) / (high - low))))
    return parts


def test_few_values_have_an_edge_each_and_many_have_quantiles():
    few = PiecewiseLinear.fit(torch.tensor([[0.0], [2.0], [3.0], [2.0]]))
    assert few.low.tolist() == [0, 2]
    assert few.width.tolist() == [2, 1]
    values = torch.from_numpy(np.random.default_rng(0).exponential(size=(5000, 1)))
    many = PiecewiseLinear.fit(values)
    assert len(many.low) == BINS
    counts = torch.histogram(
        values[:, 0].float(), torch.cat([many.low, (many.low + many.width)[-1:]])
    ).hist
    assert counts.min() >= 0.95 * 5000 / BINS


@pytest.mark.parametrize("value", [-5.0, 0.0, 0.75, 2.0, 2.25, 3.0, 1e9])
def test_parts_are_those_of_the_paper(value):
    encoding = PiecewiseLinear.fit(torch.tensor([[0.0], [2.0], [3.0]]))
    assert encoding(torch.tensor([[value]])).tolist() == [by_hand(value, [0, 2, 3])]


def test_a_column_of_several_features_has_one_vector():
    encoding = PiecewiseLinear.fit(ROWS, COLUMNS)
    # five ages (the gap is filled with 35), the gap's mark, three cities; "same" has no part
    assert encoding.features.tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
    assert encoding.columns.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert encoding(ROWS[:1]).tolist() == [[0, 0, 0, 0, 0, 0, 1, 0]]  # the youngest, of Oslo


def test_logits_are_those_of_the_formula():
    net = model()
    encoding, member = net
    parts = encoding(ROWS)
    vectors = torch.stack(
        [
            (parts[:, encoding.columns == c, None] * member.vectors.T[encoding.columns == c]).sum(1)
            + member.bias[:, c]
            for c in range(2)
        ],
        dim=2,
    )  # (N, dimensions, columns)
    hidden = vectors.relu().flatten(1)
    for layer in (member.first, member.second):
        hidden = layer(hidden).relu()
    torch.testing.assert_close(net(ROWS), member.head(hidden))


def test_a_category_of_many_values_has_one_vector_too():
    cities = [f"city {n % 45}" for n in range(90)]
    table = {"age": [float(n % 7) for n in range(90)], "city": cities}
    columns = describe_columns(table)
    rows = torch.from_numpy(encode_columns(table, columns))
    family, encoding = table_mlp.fit(rows, columns)
    member = family.model(8, input_shape=(46,), classes=2)
    assert member.places.shape == (4, SLOT)  # one slot for the age, three for 45 cities
    sums = member._sums(encoding(rows)).reshape(90, 2, 2)  # (N, dimensions, columns)
    place = [column["name"] for column in columns].index("city")
    known = columns[place]["categories"].index("city 40")
    of_city = (encoding.columns == place).nonzero()[:, 0]
    torch.testing.assert_close(sums[40, :, place], member.vectors[:, of_city[known]])


def test_a_new_category_is_none_and_far_values_count_as_the_nearest():
    net = model()
    new = encode_columns({"age": [1e9], "city": ["Kyiv"], "same": [7.0]}, COLUMNS)
    oldest = encode_columns({"age": [60.0], "city": ["Bern"], "same": [8.0]}, COLUMNS)
    assert torch.equal(net(torch.from_numpy(new)), net(torch.from_numpy(oldest)))


@pytest.mark.parametrize("parameters", [300, 2000, 30_000])
def test_it_is_sized_by_a_budget(parameters):
    family, _ = table_mlp.fit(ROWS, COLUMNS)
    shape = {"input_shape": (6,), "classes": 3}
    width = fit_to(family, parameters=parameters, **shape)
    sizes = [count_parameters(family.model(w, **shape)) for w in (width, width + 1)]
    assert sizes[0] <= parameters < sizes[1]


def test_it_is_made_again_from_its_weights():
    net = model()
    family, encoding = table_mlp.restore(net.state_dict())
    again = family.model(4, input_shape=(6,), classes=3, scaler=encoding)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(ROWS), net(ROWS))


def test_rows_that_are_all_the_same_have_one_answer():
    family, encoding = table_mlp.fit(torch.full((4, 2), 3.0))
    net = family.model(2, input_shape=(2,), classes=2, scaler=encoding)
    assert torch.equal(*net(torch.full((2, 2), 3.0)).split(1))


@pytest.mark.parametrize("rows", [torch.zeros(3, 1, 8, 8), torch.zeros(0, 4), [[1.0]]])
def test_what_is_no_table_is_refused(rows):
    with pytest.raises(AttarError, match=r"table_mlp: needs the rows of a table.*Got"):
        table_mlp.fit(rows)


def test_without_rows_it_has_no_bins():
    with pytest.raises(AttarError, match=r"table_mlp\.fit\(rows\)"):
        table_mlp.model(4, input_shape=(6,), classes=3)


def test_columns_of_another_table_are_refused():
    with pytest.raises(AttarError, match="describe 6 features, and a row has 2"):
        table_mlp.fit(ROWS[:, :2], COLUMNS)


def test_values_whose_bins_float32_cannot_hold_are_refused():
    with pytest.raises(AttarError, match="finite in float32"):
        table_mlp.fit(torch.tensor([[-3e38], [3e38]]))
