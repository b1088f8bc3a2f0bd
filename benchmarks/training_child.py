"""One LoRA training in a process of its own: by our loop, a plain one, transformers' Trainer or trl's.

`python -m benchmarks.training_child '{"way": "ours", ...}'` prints one line of JSON: seconds and losses by
step, and by how many bytes the process grew beside the loaded model. All begin with the same numbers and read
the same batches. AdamW is torch's fused one for all, and each step's loss is read, as a curve needs it.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from benchmarks.attention_child import MARK
from benchmarks.plan_child import reset_peak, resident
from benchmarks.training_subject import LR, RANK, TARGETS, random_llama, rows, same_factors

_CLIP: Final = 1.0
Case = Mapping[str, Any]


class Clock:
    """Takes the time at the end of each step, and its loss."""

    def __init__(self, device: str) -> None:
        self.times = [time.perf_counter()]
        self.worked = [time.process_time()]
        self.losses: list[float] = []
        self._on_gpu = device != "cpu"

    def step(self, loss: float | None = None) -> None:
        """Note the end of a step."""
        if self._on_gpu:
            import torch

            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        self.worked.append(time.process_time())
        if loss is not None:
            self.losses.append(loss)

    def seconds(self) -> dict[str, list[float]]:
        """Return the time of each step: by the clock, and of the processor."""
        return {
            "seconds": [after - before for before, after in zip(self.times, self.times[1:], strict=False)],
            "worked_s": [after - before for before, after in zip(self.worked, self.worked[1:], strict=False)],
        }


def measure(case: Case) -> dict[str, Any]:
    """Train and return what was measured."""
    from llama_nb.runtime import devices, process

    process.prepare()
    import torch

    torch.set_num_threads(case.get("threads") or devices.thread_count(100_000_000))
    work = {"ours": _ours, "plain": _plain, "trainer": _trainer, "trl": _trl}[case["way"]]
    module = random_llama(case["size"], case["vocabulary"], case["dtype"], case["device"])
    plan = _plan(case)
    start, parameters = work(module, case, plan)
    gc.collect()
    before = _memory_before(case["device"])
    clock = Clock(case["device"])
    start(clock)
    return {
        **clock.seconds(),
        "losses": clock.losses,
        "memory": _most(case["device"]) - before,
        "trained": plan.trained_tokens(0),
        "parameters": parameters,
    }


def _plan(case: Case) -> Any:
    """Return the micro-batches in the order in which all of them come."""
    from llama_nb.tuning.packing import BatchPlan

    data = rows(case["steps"] * case["batch"], case["tokens"], case["vocabulary"], case["share"])
    return BatchPlan(data, batch=case["batch"], packing=False, max_tokens=case["tokens"], seed=0)


def _memory_before(device: str) -> int:
    if device == "cpu":
        reset_peak()
        return resident()
    import torch

    torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.memory_allocated())


def _most(device: str) -> int:
    if device == "cpu":
        return resident("VmHWM")
    import torch

    return int(torch.cuda.max_memory_allocated())


# --- ours -------------------------------------------------------------------------------------------------


def _ours(module: Any, case: Case, plan: Any) -> tuple[Any, int]:
    from llama_nb.tuning.adapters import AdapterSet
    from llama_nb.tuning.loop import Setup, train
    from llama_nb.tuning.recipe import Recipe

    recipe = Recipe.of(
        rank=RANK, target=TARGETS, lr=LR, schedule="constant", warmup=0, steps=case["steps"],
        batch=case["batch"], clip=_CLIP, packing=False, validation=0, evaluate_every=0, save_every=0,
        checkpointing=False,
    )  # fmt: skip
    adapters = AdapterSet(module, base_name="random", base_fingerprint="0" * 16)
    adapters.create("measured", recipe)
    same_factors(module)

    def start(clock: Clock) -> None:
        with adapters.training("measured"):
            train(Setup(module, recipe, plan, name="measured", threads=_threads()), _Watcher(clock))

    return start, sum(tensor.numel() for tensor in adapters.weights("measured").values())


def _threads() -> int:
    import torch

    return int(torch.get_num_threads())


class _Watcher:
    """An Observer that only takes the time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def between(self) -> None:
        """Order nothing."""

    def step(self, metrics: Any) -> None:
        self._clock.step(metrics.loss)

    def validated(self, step: int, loss: float) -> None:
        """There is nothing to validate on."""

    def checkpoint(self, state: Any) -> None:
        """Keep nothing: the peers save nothing either."""


# --- the peers --------------------------------------------------------------------------------------------


def _wrapped(module: Any) -> Any:
    """Return the model with peft's LoRA as its users have it."""
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(TARGETS), task_type="CAUSAL_LM")
    wrapped = get_peft_model(module, settings)
    same_factors(wrapped)
    return wrapped


def _each(plan: Any, case: Case) -> Iterator[Any]:
    return (plan.micro_batch(number) for number in range(case["steps"]))


def _count(module: Any) -> int:
    return sum(one.numel() for one in module.parameters() if one.requires_grad)


def _labels(batch: Any) -> Any:
    return batch.ids.masked_fill(~batch.trained, -100)


def _plain(module: Any, case: Case, plan: Any) -> tuple[Any, int]:
    import torch

    wrapped = _wrapped(module).train()
    trained = [one for one in wrapped.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=0.0, fused=True)

    def start(clock: Clock) -> None:
        for batch in _each(plan, case):
            ids, labels = batch.ids.to(case["device"]), _labels(batch).to(case["device"])
            loss = wrapped(input_ids=ids, labels=labels, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, _CLIP)
            optimizer.step()
            optimizer.zero_grad()
            clock.step(float(loss.detach()))

    return start, _count(wrapped)


def _settings(kind: Any, case: Case, folder: str, **more: Any) -> Any:
    """Return what Trainer and SFTTrainer are told alike."""
    return kind(
        output_dir=folder, per_device_train_batch_size=case["batch"], max_steps=case["steps"],
        learning_rate=LR, lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=_CLIP,
        logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
        use_cpu=case["device"] == "cpu", bf16=False,
        gradient_checkpointing=False, dataloader_pin_memory=False, train_sampling_strategy="sequential",
        optim="adamw_torch_fused", **more,
    )  # fmt: skip


def _callback(clock: Clock) -> Any:
    from transformers import TrainerCallback

    class Times(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.times[0], clock.worked[0] = time.perf_counter(), time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step()

        def on_log(self, *_: Any, logs: Mapping[str, float], **__: Any) -> None:
            if "loss" in logs:
                clock.losses.append(float(logs["loss"]))

    return Times()


def _trainer(module: Any, case: Case, plan: Any) -> tuple[Any, int]:
    from transformers import Trainer, TrainingArguments

    wrapped = _wrapped(module)
    data = [
        {"input_ids": ids, "labels": labels}
        for batch in _each(plan, case)
        for ids, labels in zip(batch.ids, _labels(batch), strict=True)
    ]

    def start(clock: Clock) -> None:
        trainer = Trainer(
            wrapped,
            _settings(TrainingArguments, case, case["folder"]),
            train_dataset=data,
            callbacks=[_callback(clock)],
        )
        trainer.train()

    return start, _count(wrapped)


def _trl(module: Any, case: Case, plan: Any) -> tuple[Any, int]:
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    wrapped = _wrapped(module)
    words = {f"t{number}": number for number in range(case["vocabulary"])}
    backend = Tokenizer(models.WordLevel(words, unk_token="t0"))  # noqa: S106 - a token, no secret
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="t0", eos_token="t1")  # noqa: S106
    data = Dataset.from_list(
        [
            {"input_ids": ids.tolist(), "completion_mask": trained.int().tolist()}
            for batch in _each(plan, case)
            for ids, trained in zip(batch.ids, batch.trained, strict=True)
        ]
    )
    settings = _settings(SFTConfig, case, case["folder"], max_length=None, completion_only_loss=True)

    def start(clock: Clock) -> None:
        SFTTrainer(
            wrapped, settings, train_dataset=data, processing_class=tokenizer, callbacks=[_callback(clock)]
        ).train()

    return start, _count(wrapped)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    print(MARK, json.dumps(measure(json.loads(sys.argv[1]))))
