"""What of a mixture's layers can be forbidden, forced or dropped, in numbers alone."""

import pytest

from llama_nb.core.errors import InterventionError, UnsupportedError
from llama_nb.core.intervention import Intervention
from llama_nb.core.mixture import MoeLayer, check_routing

ONE = (MoeLayer(1, 8, 1, shared=True), MoeLayer(3, 8, 1, shared=True))
TWO = (MoeLayer(0, 4, 2, shared=False), MoeLayer(1, 4, 2, shared=False))


def ban(layer, *experts):
    return [Intervention("expert", layer, mode="ban", expert=expert) for expert in experts]


def force(layer, *experts):
    return [Intervention("expert", layer, mode="force", expert=expert) for expert in experts]


def top(k):
    return [Intervention("top_k", None, top_k=k)]


@pytest.mark.parametrize(
    ("layers", "parts"),
    [
        ((), [Intervention("mlp", 9)]),
        (ONE, ban(1, *range(7))),
        (ONE, [*ban(1, *range(7)), *ban(3, 1, 2), *force(1, 7), Intervention("shared expert", 3)]),
        (ONE, top(8)),
        (ONE, [*top(2), *force(1, 4, 5)]),
        (TWO, [*ban(0, 0, 1), *force(0, 2, 3)]),
        (TWO, [*top(1), *ban(1, 0, 1, 2)]),
        (TWO, top(4)),
    ],
)
def test_what_leaves_each_token_its_experts_can_be_done(layers, parts):
    check_routing(parts, layers, "tiny")


@pytest.mark.parametrize(
    ("layers", "parts", "said"),
    [
        (ONE, ban(2, 0), "Layer 2 of tiny is no MoE layer.\nIts MoE layers are: 1, 3."),
        (ONE, [Intervention("shared expert", 0)], "Layer 0 of tiny is no MoE layer"),
        (ONE, ban(3, 8), "tiny has no expert 8 in layer 3: a layer has 8, from 0 to 7"),
        (ONE, ban(3, *range(8)), "8 of the 8 experts of layer 3 are forbidden: 0 are left, .* goes to 1"),
        (TWO, ban(1, 0, 1, 2), "3 of the 4 experts of layer 1 are forbidden: 1 is left, .* goes to 2"),
        (
            TWO,
            [*top(3), *ban(1, 0, 1)],
            "2 of the 4 experts of layer 1 are forbidden: 2 are left, .* goes to 3",
        ),
        (
            ONE,
            force(1, 2, 3),
            "2 experts of layer 1 .*, .* goes to 1 there.\nForce one, or .* top_k=2",
        ),
        (TWO, force(1, 1, 2, 3), "3 experts of layer 1 are forced.*\nForce 2 at most, or .* top_k=3"),
        (TWO, [*top(1), *force(1, 1, 2)], "2 experts of layer 1 are forced"),
        (TWO, top(5), "top_k is 5: a layer of tiny has 4 experts.\nFrom 1 to 4; the model itself takes 2"),
        (TWO, [Intervention("shared expert", 1)], "Layer 1 of tiny has no shared expert"),
    ],
)
def test_what_cannot_be_done_is_named(layers, parts, said):
    with pytest.raises(InterventionError, match=said):
        check_routing(parts, layers, "tiny")


@pytest.mark.parametrize("parts", [ban(1, 0), top(1), [Intervention("shared expert", 0)]])
def test_a_dense_model_has_no_experts(parts):
    with pytest.raises(
        UnsupportedError, match="tiny has no experts: every token goes through all of it"
    ) as no:
        check_routing(parts, (), "tiny")
    assert "%llama load cria-moe" in no.value.hint
