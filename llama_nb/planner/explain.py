"""What the parts of a plan hold, and what must be known beside the figures, in sentences."""

from llama_nb.planner import training, working
from llama_nb.planner.job import Job, Target
from llama_nb.planner.memory import is_quantised, kv_bytes_per_token
from llama_nb.planner.speed import read_bytes
from llama_nb.planner.split import Split
from llama_nb.render.units import number, size


def details(job: Job, target: Target) -> dict[str, str]:
    """Return what each part holds, by its key."""
    shape = job.shape
    count = f"{number(shape.parameters)} parameters"
    if shape.experts:
        count += f" in all, {number(shape.active_parameters)} active per token"
    said = {
        "weights": f"{count}, {_weights(job)}",
        "kv_cache": _cache(job),
        "activations": _activations(job, target),
        "overhead": _overhead(job, target),
        "adapter": f"rank {job.rank} on {', '.join(job.targets)}: {_trained(job)} parameters in float32",
        "gradients": f"float32, of {_trained(job)} parameters",
        "optimizer": "AdamW: two moments in float32",
    }
    if job.train == "full":
        half = f", and a copy in {job.format.label}" if job.width < 4 else ""
        said["weights"] = f"{count} in float32{half}"
    return said


def notes(job: Job, target: Target) -> list[str]:
    """Return what a reader must know beside the figures."""
    shape, found = job.shape, []
    if shape.context and job.context > shape.context:
        found.append(f"The model knows {shape.context:,} tokens of context; {job.context:,} are more.")
    if target.count > 1:
        found.append(Split(shape, target.count).sentence)
    if job.format.kind != "float" and job.stored is None:
        found += _kept(job)
    if shape.experts:
        found.append(_mixture(job))
    if job.train and target.kind == "cpu":
        found.append(
            "Activations of training are what is asked of the allocator. Of blocks below 1 MiB glibc's keeps "
            "those that are free again, up to 70 MB more in short steps of small models; "
            "MALLOC_MMAP_THRESHOLD_=131072 in the environment avoids that."
        )
    if job.converted_from:
        found.append(
            f"While it loads, {size(job.converted_from)} of files are mapped beside the weights, because "
            "their numbers are converted; the system can drop them."
        )
    return found


def _kept(job: Job) -> list[str]:
    """What the method leaves in the dtype, and why: experts that lie in one tensor for all, odd widths."""
    kept = [group for group in job.shape.groups() if group.quantised and not is_quantised(group, job.format)]
    experts = [group for group in kept if group.part == "experts"]
    odd = [group.name for group in kept if group.part != "experts"]
    said = []
    if experts:
        share = sum(group.parameters for group in experts) / job.shape.parameters
        said.append(
            f"{job.quant} takes linear layers only: the experts, {share:.0%} of the parameters, stay in "
            f"{job.dtype}."
        )
    if odd:
        said.append(f"{job.quant} cannot take {', '.join(odd)} (their width): they stay in {job.dtype}.")
    return said


def _mixture(job: Job) -> str:
    """What "active" means, in the words of this model."""
    shape = job.shape
    of_all = f"{shape.experts_per_token} of {shape.experts} routed experts"
    shared = " and through the shared one" if shape.shared_expert else ""
    where = f"each of {shape.layers} layers"
    if shape.expert_layers < shape.layers:
        where = f"{shape.expert_layers} of {shape.layers} layers"
    counts = f"{number(shape.active_parameters)} of {number(shape.parameters)} parameters"
    return (
        f"A token passes through {of_all}{shared} in {where}: {counts} work for it. All experts lie in "
        f"memory; decoding a token reads {size(read_bytes(job))} of the weights."
    )


def _weights(job: Job) -> str:
    chosen = job.format
    if chosen.kind == "float" or job.stored is not None:
        return chosen.label
    rest = "" if chosen.quantises_embeddings else f"; embedding, head and norms in {job.dtype}"
    return f"{chosen.label}, {chosen.bits:.3g} bits{rest}"


def _cache(job: Job) -> str:
    if job.train:
        return "none in training"
    shape, dtype = job.shape, job.cache_dtype or job.dtype
    said = f"{kv_bytes_per_token(shape, dtype):,} bytes per token in {dtype}, {job.context:,} tokens"
    if job.batch > 1:
        said += f", {job.batch} sequences"
    if shape.heads > shape.kv_heads:
        times = f"{shape.heads / shape.kv_heads:g} times less"
        said += f"; {shape.kv_heads} of {shape.heads} heads keep keys: {times} (GQA)"
    if shape.local_layers and shape.window and shape.window < job.context:
        said += f"; {shape.local_layers} of {shape.layers} layers keep {shape.window:,} tokens at most"
    return said


def _activations(job: Job, target: Target) -> str:
    if not job.train:
        tokens = min(working.chunk_tokens(job.shape, target), job.context)
        return f"a prompt in chunks of {tokens:,} tokens, logits, room for the cache to grow"
    kept = "layers' inputs only (checkpointing)" if job.checkpointing else "all layers"
    return f"{job.batch} x {job.context:,} tokens, {kept}, logits of {job.shape.vocabulary:,} tokens"


def _overhead(job: Job, target: Target) -> str:
    if target.kind == "gpu":
        each = f" on each of {target.count}" if target.count > 1 else ""
        return f"the driver's context and kernels{each}"
    library = f", {job.format.library}" if job.format.kind in ("bitsandbytes", "quanto") else ""
    peft = ", peft" if job.train in ("lora", "qlora") else ""
    tokenizer = size(working.tokenizer_bytes(job.shape, target))
    return f"the process beside the model: torch, transformers{library}{peft}; tokenizer {tokenizer}"


def _trained(job: Job) -> str:
    if job.train == "full":
        return number(job.shape.parameters)
    return f"{training.adapter_parameters(job.shape, job.targets, job.rank):,}"
