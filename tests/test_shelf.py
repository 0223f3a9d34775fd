"""What a check's rounds share: models that nobody holds and nobody has touched."""

import pytest
import torch

from utils.checks import find_check
from utils.exercises.engine import run_check
from utils.models import shelf
from utils.models.config import AttentionOnlyConfig
from utils.models.handmade import model_from_table, random_model, with_weights
from utils.models.shelf import blank_model, made_anew, round_of_check

TOKENS = torch.tensor([[0, 4, 2, 7, 1], [0, 3, 3, 5, 9]])


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    """No test gets what another one has left, and none leaves anything."""
    monkeypatch.setattr(shelf, "_shelf", shelf._Shelf())


def used_once(touch=None, **sizes):
    """A number that tells the model of a round, once nobody holds it."""
    with round_of_check():
        model = random_model(2, **sizes)
        model.run_with_cache(TOKENS)
        if touch:
            touch(model)
        return id(model)


def got_again(number: int) -> bool:
    with round_of_check():
        return number == id(random_model(2))


def test_a_round_gets_what_another_has_done_with():
    assert got_again(used_once())
    assert not got_again(used_once(d_model=12))


def test_what_is_used_again_is_the_model_that_a_new_one_would_be():
    new = random_model(2, seed=5, scale=0.7), model_from_table(torch.eye(9))
    for _ in range(3):
        with round_of_check():
            noise = random_model(2, seed=8, scale=3.0)
            noise.run_with_cache(TOKENS)
            random_model(0, d_vocab=9, d_model=9)
        with round_of_check():
            again = random_model(2, seed=5, scale=0.7), model_from_table(torch.eye(9))
            for one, two in zip(new, again, strict=True):
                theirs = two.state_dict()
                for name, value in one.state_dict().items():
                    assert torch.equal(value, theirs[name]), name
                assert torch.equal(one.W_pos, two.W_pos)
                assert torch.equal(one(TOKENS % 9), two(TOKENS % 9))
                logits, cache = two.run_with_cache(TOKENS % 9)
                assert cache.keys() == one.run_with_cache(TOKENS % 9)[1].keys()
                assert not logits.requires_grad and not two.training


def test_two_models_of_a_round_are_two():
    used_once()
    with round_of_check():
        one, two = random_model(2, seed=1), random_model(2, seed=1)
        three = with_weights(one, {"W_E": one.W_E + 1})
        assert len({id(one), id(two), id(three)}) == 3
        one.W_E.add_(1)
        assert not torch.equal(one.W_E, two.W_E) and torch.equal(one.W_E, three.W_E)


def test_outside_and_for_an_answer_every_model_is_new():
    number = used_once()
    assert id(random_model(2)) != number
    with round_of_check(), made_anew():
        assert id(random_model(2)) != number
    assert got_again(number)


def test_a_model_that_somebody_holds_stays_theirs():
    kept = []
    used_once(kept.append)
    weights = kept[0].W_E.clone()
    with round_of_check():
        assert random_model(2, seed=4) is not kept[0]
    assert torch.equal(kept[0].W_E, weights)


def test_a_rounds_models_stay_while_rounds_inside_it_run():
    with round_of_check():
        weights = random_model(2).W_E  # the model itself is held by nobody
        before = weights.clone()
        with round_of_check():
            random_model(2, seed=4)
        assert torch.equal(weights, before)


def in_double(model):
    model.to(torch.float64)


def with_a_hook(model):
    model.add_hook("blocks.0.attn.hook_pattern", lambda p, hook: p, is_permanent=True)


def with_a_torch_hook(model):
    model.blocks[1].attn.original_component.register_forward_hook(lambda *_: None)


def that_learns(model):
    model.requires_grad_(True)


def with_a_gradient(model):
    weight = next(model.original_model.parameters())
    weight.grad = torch.ones_like(weight)


def that_trains(model):
    model.train()


def set_otherwise(model):
    model.cfg.n_ctx = 7


def with_another_part(model):
    model.blocks[0].attn.original_component.q = torch.nn.Identity()


def with_another_forward(model):
    model.forward = lambda tokens: tokens


def with_a_cut_weight(model):
    weight = model.original_model.head.weight
    weight.data = weight.data[:3]


@pytest.mark.parametrize(
    "touch",
    [
        in_double,
        with_a_hook,
        with_a_torch_hook,
        that_learns,
        with_a_gradient,
        that_trains,
        set_otherwise,
        with_another_part,
        with_another_forward,
        with_a_cut_weight,
    ],
)
def test_a_model_that_was_touched_is_not_used_again(touch):
    with torch.no_grad():
        assert not got_again(used_once(touch))


def test_a_round_that_was_stopped_leaves_nothing_open():
    with pytest.raises(KeyboardInterrupt), round_of_check():
        shelf._shelf.rounds.append(None)  # an answer whose end never came
        raise KeyboardInterrupt
    assert shelf._shelf.rounds == []


def test_the_shelf_keeps_few_and_small_models():
    config = AttentionOnlyConfig(n_layers=1, d_vocab=9, d_model=6, n_heads=1, d_head=2)
    with round_of_check():
        made = [blank_model(config) for _ in range(shelf.KEPT + 3)]
        blank_model(AttentionOnlyConfig(n_layers=1, d_vocab=2_000, d_model=40))
    del made
    assert [len(kept) for kept in shelf._shelf.free.values()] == [shelf.KEPT, 0]


def test_a_check_of_a_wrong_answer_builds_few_models(monkeypatch):
    """Its judge runs for one known mistake after the other."""
    built, new = [], shelf._new
    monkeypatch.setattr(shelf, "_new", lambda *a: built.append(a) or new(*a))
    late = find_check("attention_pattern").mistakes[-3]
    assert run_check("attention_pattern", late.function).mistake == late.name
    assert len(built) < 8
