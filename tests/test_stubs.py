"""What a passed answer takes and returns: the stub's parameters, the stub's kinds."""

import numpy as np
import pytest
import torch
from transformer_lens import FactoredMatrix

from tests.answered import otherwise
from utils.checks import chapter_of, chapters, exercises_of
from utils.exercises.engine import exercise, run_check
from utils.exercises.stubs import handed_on, in_kind, read_stub, same_kind
from utils.models.handmade import random_model

NAMES = [name for stem in chapters() for name in exercises_of(stem)]


def reference(name):
    return getattr(__import__(f"solutions.{chapter_of(name)}", fromlist=[name]), name)


# --- kinds --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_written_otherwise_reaches_later_cells_in_the_kind_of_the_stub(name):
    """Solutions are handed on as they are; their results in other clothes come back."""
    stub, answer = read_stub(name), reference(name)
    returned = run_check(name, answer).returned
    assert returned
    assert handed_on(stub, answer, returned) == (answer, "")
    for given, result in returned:
        other = in_kind(otherwise(result), stub.returns, given)
        assert same_kind(other, result)
        assert_same_numbers(other, result)


def assert_same_numbers(one, two):
    if isinstance(one, FactoredMatrix):
        assert one.mdim <= two.mdim
        one, two = one.AB, two.AB
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4, equal_nan=True)
    elif isinstance(one, float):
        assert one == pytest.approx(two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_same_numbers(one[key], two[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same_numbers(a, b)
    else:
        assert one == two


@pytest.mark.parametrize(("rows", "columns", "rank"), [(70, 50, 3), (40, 60, 35)])
def test_a_dense_matrix_becomes_two_factors_of_its_rank(rows, columns, rank):
    generator = torch.Generator().manual_seed(3)
    left = torch.randn(rows, rank, generator=generator)
    dense = left @ torch.randn(rank, columns, generator=generator)
    found = in_kind(dense, "FactoredMatrix")
    assert (found.ldim, found.mdim, found.rdim) == (rows, rank, columns)
    torch.testing.assert_close(found.AB, dense, rtol=1e-4, atol=1e-4)


def test_a_matrix_of_zeros_is_factored_too():
    found = in_kind(torch.zeros(5, 4), "FactoredMatrix")
    assert torch.equal(found.AB, torch.zeros(5, 4))


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        (np.ones((2, 3)), 'Float[Tensor, "a b"]', torch.ones(2, 3)),
        (torch.ones(2).double(), "Tensor", torch.ones(2)),
        (torch.ones(2).cdouble(), "Tensor", torch.ones(2).cfloat()),
        (torch.tensor(2.5), "float", 2.5),
        (np.float32(0.5), "float", 0.5),
        (torch.ones(2).int(), 'Int[Tensor, "k"]', torch.ones(2).long()),
        (np.array([[1, 2]]), "list[tuple[int, int]]", [(1, 2)]),
        ([np.float64(1), 2], "tuple[float, float]", (1.0, 2.0)),
        ({"a": np.ones(1)}, "dict[str, Tensor]", {"a": torch.ones(1)}),
        (None, 'Float[Tensor, "a"]', None),
        ("x", "", "x"),
    ],
)
def test_a_result_comes_in_the_kind_of_the_annotation(value, kind, wanted):
    found = in_kind(value, kind)
    assert same_kind(found, wanted)
    assert_same_numbers(found, wanted)


def test_float64_stays_where_float64_went_in():
    value, given = np.ones(3), (torch.ones(2).double(), {})
    assert in_kind(value, "Tensor", given).dtype == torch.float64
    assert in_kind(value, "Tensor", (torch.ones(2), {})).dtype == torch.float32


def test_a_numpy_answer_is_handed_on_as_a_tensor_and_the_card_says_so(capsys):
    def direct_path(model):
        return (model.W_E @ model.W_U).double().numpy()

    bound = exercise(direct_path)
    said = capsys.readouterr().out
    assert "passed" in said and "NumPy array of float64" in said
    assert "a tensor of float32" in said
    model = random_model(0)
    assert bound.yours is direct_path and isinstance(bound(model), torch.Tensor)
    torch.testing.assert_close(bound(model), model.W_E @ model.W_U)


# --- parameters ---------------------------------------------------------------------


def answers_for_copying_score():
    from solutions.ch3_one_layer import copying_score as right

    def other_name(network, layer, head, centred=False):
        return right(network, layer, head, centred)

    def other_order(model, head, layer, centred=False):
        return right(model, layer, head, centred)

    def other_default(model, layer, head, centred=True):
        return right(model, layer, head, centred)

    def no_default(model, layer, head, centred):
        return right(model, layer, head, centred)

    def only_positions(model, layer, head, *rest):
        return right(model, layer, head, *rest)

    def only_names(model, **named):
        return right(model, **named)

    def by_name_alone(model, layer, head, *, centred=False):
        return right(model, layer, head, centred)

    def one_too_many(model, layer, head, centred=False, *, extra):
        return right(model, layer, head, centred)

    def one_more_with_a_default(model, layer, head, centred=False, extra=None):
        return right(model, layer, head, centred)

    def anything(*args, **kwargs):
        return right(*args, **kwargs)

    def rest_of_any_kind(model, layer, *args, **kwargs):
        return right(model, layer, *args, **kwargs)

    wrong = [
        (other_name, "called `model`"),
        (other_default, "have the default False"),
        (no_default, "have the default False"),
        (only_positions, "called `centred`"),
        (only_names, ""),
        (by_name_alone, ""),
        (one_too_many, ""),
        (other_order, ""),
    ]
    return wrong, [one_more_with_a_default, anything, rest_of_any_kind, right]


def test_the_card_says_which_part_of_a_pair_is_converted(capsys):
    def top_bigrams(model, token, k=5):
        row = model.W_E[model.to_single_token(token)] @ model.W_U
        best = row.softmax(0).topk(k)
        return list(zip(model.to_str_tokens(best.indices), best.values, strict=True))

    exercise(top_bigrams)
    said = " ".join(capsys.readouterr().out.split())
    assert "a list with a tuple with a str and a tensor without axes" in said
    assert "need a list with a tuple with a str and a float" in said


def test_names_order_and_defaults_are_part_of_the_answer():
    wrong, right = answers_for_copying_score()
    for answer, words in wrong:
        result = run_check("copying_score", answer)
        assert result.status != "passed", answer.__name__
        assert words in result.message
    for answer in right:
        assert run_check("copying_score", answer).status == "passed", answer.__name__


@pytest.mark.parametrize("name", NAMES)
def test_the_stub_is_read_from_the_notebook(name):
    """The solution's own signature, seen another way, is what the stub promises."""
    import inspect

    wanted = inspect.signature(reference(name)).parameters.values()
    assert read_stub(name).parameters == tuple((p.name, p.default) for p in wanted)
    assert read_stub(name).returns


def test_without_a_notebook_nothing_is_compared(monkeypatch):
    from utils.exercises import verdict

    def other_name(network):
        return network.W_E @ network.W_U

    assert run_check("direct_path", other_name).mistake == "other signature"
    monkeypatch.setattr(verdict, "read_stub", lambda name: None)
    assert run_check("direct_path", other_name).status == "passed"
