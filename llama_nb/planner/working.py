"""What inference takes beside weights and cache, and what the process takes beside the model.

Each constant says what was measured: peaks of resident memory of fresh processes with our own engine
(stories260K, cria, random Llamas of 111 and 270 million parameters; torch 2.13, transformers 5.23, Linux).
"""

from typing import Final

from llama_nb.planner.job import Job, Target
from llama_nb.planner.memory import dtype_bytes, is_quantised, kv_cache_bytes
from llama_nb.planner.shape import Shape
from llama_nb.planner.split import Split

# Python with torch, transformers and its Llama imported: 371 MB resident.
PROCESS: Final = 371_000_000
# Importing bitsandbytes took 41 MB more, quanto 4 MB; torchao comes with transformers. peft took 50 MB, and
# imports bitsandbytes itself where it is installed.
_LIBRARIES: Final = {"bitsandbytes": 41_000_000, "quanto": 4_000_000}
_PEFT: Final = 50_000_000
# A vocabulary of 128,256 took 53 MB, one of 32,000 17 MB, 8,000 6.3 MB, 2,048 2.1 MB, once what reading it
# leaves in the heap is given back: three times as much.
_TOKENIZER: Final = 2_500_000
_TOKENIZER_PER_TOKEN: Final = 400
# Code that the first token touches: 10 to 13 MB beside small and large models.
_FIRST_USE: Final = 10_000_000
# bitsandbytes' kernels on a CPU: 8 to 12 MB more with nf4, 21 with int8.
_BITSANDBYTES: Final = 10_000_000
# Quantising while reading: beside files, weights and tokenizer 10 to 14 MB on cria, 11 to 42 where the
# largest matrix had 3.1 MB, 48 to 59 where it had 6.3.
_READING: Final = 13_000_000
_READING_MATRICES: Final = 5
# Buffers that float32 products of several rows are packed into: 1 MB on cria, 16 to 18 MB on the others.
_PACKING: Final = 16_000_000
# "1-2GB" for kernels and context of CUDA in "Model training anatomy" of the transformers documentation; the
# lower end, since CUDA loads its kernels when they are used. Not measured: there was no GPU to do it on.
CUDA_CONTEXT: Final = 1_000_000_000
# cuBLAS' workspace on Hopper; 8 MiB before (CUBLAS_WORKSPACE_CONFIG, torch's notes on CUDA).
_CUBLAS: Final = 32 * 2**20

# engines/decoding.py: chunks of a prompt take a quarter of a second, at least 8 and at most 4,096 tokens.
_CHUNK_S: Final = 0.25
_SHORTEST_CHUNK: Final = 8
_LONGEST_CHUNK: Final = 4096
# Where a CPU's speed is not known; four cores reached 2e10 (bfloat16 without AVX512-BF16) to 6e10 (float32).
_CPU_FLOPS: Final = 1e11
# engines/kv_cache.py: buffers grow by a quarter, but not beyond the model's context. Beside the two terms of
# one layer, 0.18 to 0.29 of the cache was measured at contexts of 2,048 and 8,000 tokens.
_GROWTH: Final = 0.25


def process_bytes(job: Job, target: Target) -> int:
    """Return what is taken before the model comes: imports, or the driver's context on each GPU."""
    if target.kind == "gpu":
        return CUDA_CONTEXT * target.count
    library = _LIBRARIES.get(job.format.kind, 0)
    return PROCESS + (max(library, _PEFT) if job.train in ("lora", "qlora") else library)


def tokenizer_bytes(shape: Shape, target: Target) -> int:
    """Return the bytes of the tokenizer; on a GPU none."""
    return _TOKENIZER + _TOKENIZER_PER_TOKEN * shape.vocabulary if target.kind == "cpu" else 0


def inference_bytes(job: Job, target: Target) -> int:
    """Return the working memory of a prompt of the whole context, on all devices together.

    The largest of what attention and feed-forward of one chunk take, the logits, the room of a growing cache,
    one matrix of quantised weights as floats, and the kernels' own memory.
    """
    shape, width, split = job.shape, job.width, Split(job.shape, target.count)
    tokens = min(chunk_tokens(shape, target), job.batch * job.context)
    hidden = tokens * shape.hidden * (8 + 2 * width)  # RMSNorm works in float32
    passing = max(_attention(job, tokens) * split.keys, _feed_forward(shape, tokens, width))
    logits = shape.vocabulary * (width + 4 + 8)  # as computed, as float32, and for the sampler as float64
    kernels = _kernels(job, target)
    return round(hidden * target.count + passing + logits + _growth(job) * split.keys + kernels)


def chunk_tokens(shape: Shape, target: Target) -> int:
    """Return how many tokens of a prompt our engine computes at once."""
    flops = target.flops or (_CPU_FLOPS if target.kind == "cpu" else None)
    if flops is None:
        return _LONGEST_CHUNK
    fitting = int(_CHUNK_S * flops * target.count / (2 * shape.active_parameters))
    return max(_SHORTEST_CHUNK, min(_LONGEST_CHUNK, fitting))


def reading_bytes(job: Job) -> int:
    """Return what quantising takes while files are read, beside the files and the weights."""
    largest = dequantised_bytes(job)
    return _READING + _READING_MATRICES * largest if largest and job.converted_from else 0


def dequantised_bytes(job: Job) -> int:
    """Return the bytes of the largest quantised matrix as floats: it is unpacked for prompts and training."""
    sizes = [g.rows * g.columns for g in job.shape.groups() if is_quantised(g, job.format)]
    return max(sizes, default=0) * job.width


def packing_bytes(job: Job) -> int:
    """Return the bytes of the buffers into which a CPU packs what it multiplies in float32."""
    return min(_PACKING, job.shape.parameters // 2) if job.width == 4 else 0


def _attention(job: Job, tokens: int) -> float:
    shape, width, keys = job.shape, job.width, job.batch * job.context
    states = 2 * tokens * shape.heads * shape.head_dim * width
    if tokens >= keys:  # the whole prompt at once needs no mask
        return states
    mask = tokens * job.context * (1 + width)  # as booleans, and as what is added to the scores
    # With a mask, transformers repeats the keys and values of a layer for every query head.
    repeated = 2 * shape.heads * shape.head_dim * keys * width if shape.heads > shape.kv_heads else 0
    return mask + repeated + states


def _feed_forward(shape: Shape, tokens: int, width: int) -> float:
    dense = 3 * tokens * shape.ffn * width
    if not shape.experts:
        return dense
    # transformers lets every expert of Llama 4 see every token; Mixtral's see their own.
    seen = shape.experts if shape.shared_expert else shape.experts_per_token
    # Gate and up come in one tensor, which stays while the gate is activated and multiplied: four widths.
    return max(dense, tokens * seen * (shape.hidden + 4 * shape.expert_ffn) * width)


def _growth(job: Job) -> float:
    shape, dtype = job.shape, job.cache_dtype or job.dtype
    one_layer = 2 * job.batch * job.context * shape.kv_heads * shape.head_dim * dtype_bytes(dtype)
    beyond = max(0, shape.context - job.context) if shape.context else job.context
    share = min(_GROWTH, beyond / job.context)
    return one_layer + share * kv_cache_bytes(shape, job.context, dtype, job.batch)


def _kernels(job: Job, target: Target) -> int:
    unpacked = dequantised_bytes(job)
    if target.kind == "gpu":
        return unpacked + _CUBLAS * target.count
    library = _BITSANDBYTES if job.format.kind == "bitsandbytes" else 0
    return unpacked + _FIRST_USE + packing_bytes(job) + library
