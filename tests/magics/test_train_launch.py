"""`%llama train --launch` and `--export`: what stands on the line, and what of it is refused."""

from llama_nb.magics import launch_words
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.commands import train
from llama_nb.magics.completion import candidates
from llama_nb.magics.parser import VerbParser
from tests.tuning.fake_run import FakeRun


def _read(*words: str):
    parser = VerbParser("train", "")
    train.add_arguments(parser)
    return parser.parse_args(list(words))


def test_what_stands_on_the_line_is_what_the_model_is_asked_for():
    args = _read("data.jsonl", "--launch", "ray://head", "--workers", "2", "--shard")
    assert launch_words.given(args) == {"launch": "ray://head", "workers": 2, "shard": True}
    assert launch_words.line(args) == ["--launch", "ray://head", "--workers", "2", "--shard"]
    assert launch_words.given(_read("data.jsonl")) == {}
    job = _read("data.jsonl", "--export", "sbatch", "--gpus", "4", "--nodes", "2")
    assert launch_words.given(job) == {"export": "sbatch", "gpus": 4, "nodes": 2}


def test_launchers_and_jobs_are_completed():
    assert {"torchrun", "accelerate", "ray"} <= set(candidates("%llama train data.jsonl --launch ") or ())
    assert {"sbatch", "accelerate", "ray"} <= set(candidates("%llama train data.jsonl --export ") or ())


def test_a_run_goes_on_as_it_was_started(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = FakeRun(tmp_path / "runs")
    made.train(3)
    made.say("stopped")
    for option in ("--gpus 2", "--launch torchrun", "--shard"):
        cell = shell(f"%llama train --resume persona {option}")
        assert isinstance(cell.error, CommandError)
        assert cell.error.message.startswith(f"--resume takes no {option.split()[0]}")
        assert "torchrun" in cell.error.hint
