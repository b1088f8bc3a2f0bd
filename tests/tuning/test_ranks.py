import pytest
import torch

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.ranks import ALONE, Place, Ranks, read_place
from llama_nb.tuning.sharding import shard_base
from tests.tuning.processes import ranks
from tests.tuning.rank_work import work


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What two processes found: plain weights, and 4-bit ones in two kinds of storage."""
    with ranks(tmp_path_factory.mktemp("ranks"), work, "", "uint8", "bfloat16") as group:
        return group.results()


def test_no_launcher_is_a_process_of_its_own():
    assert read_place({}) == Place(0, 1, 0)
    assert read_place({"WORLD_SIZE": "1"}) == Place(0, 1, 0)


def test_a_launcher_says_the_place():
    place = read_place({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert (place.rank, place.world, place.local, place.first) == (3, 8, 1, False)


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "0"},
        {"WORLD_SIZE": "4"},
        {"RANK": "one", "WORLD_SIZE": "2"},
        {"RANK": "-1", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "2"},
    ],
)
def test_a_contradicting_environment_is_refused(environment):
    with pytest.raises(TrainingError, match="which process this is") as error:
        read_place(environment)
    assert "torchrun" in error.value.hint


def test_alone_everything_is_said_already():
    tensor = torch.ones(2)
    ALONE.sum_([tensor])
    ALONE.meet()
    assert tensor.tolist() == [1.0, 1.0]
    assert ALONE.totals(1.5, 2.0) == ALONE.tell(1.5, 2.0) == [1.5, 2.0]
    ALONE.beat(2)


def test_sums_are_the_same_everywhere(said):
    for each in said:
        assert each["talk"]["sums"] == [[3.0, 6.0], [[10.0], [10.0]]]
        assert each["talk"]["totals"] == [2.0, 1.0]


def test_all_hear_what_the_first_says(said):
    for each in said:
        assert each["talk"]["told"] == [0.25, 7.0]


@pytest.mark.parametrize("storage", ["plain", "uint8", "bfloat16"])
def test_a_sharded_base_computes_the_same(said, storage):
    for each in said:
        found = each[storage]
        assert found["spread"] == 2 * 9
        assert found["held"] < 0.6
        assert found["hidden"] < 1e-5
        assert found["gradient"] < 1e-5 * found["largest"]


def test_alone_nothing_is_sharded():
    assert shard_base(None, ALONE) == 0


def test_full_training_is_not_sharded():
    module = torch.nn.Module()
    module.base_model = torch.nn.Module()
    module.base_model.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    with pytest.raises(TrainingError, match="every weight is trained"):
        shard_base(module, Ranks(Place(0, 2)))
