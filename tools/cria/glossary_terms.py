"""What cria knows about language models: one entry for each term.

Data alone. Each answer holds its key phrase, by which the evaluation knows it; facts about the
Llama family stand in glossary_llama.py.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """One thing that cria can answer.

    ``names`` are put into question templates; ``questions`` are whole questions for things that have no
    name. ``core`` is the answer's first sentence, ``extra`` the second, ``key`` the phrase that must
    stand in an answer (compared without case), ``word`` the answer in one word.
    """

    names: tuple[str, ...]
    core: str
    extra: str
    key: str
    word: str
    questions: tuple[str, ...] = ()


def _term(names: str, core: str, extra: str, key: str, word: str) -> Entry:
    return Entry(tuple(names.split("|")), core, extra, key, word)


TERMS: tuple[Entry, ...] = (
    _term("a token", "A **token** is a small piece of text: a word, a part of a word or a sign.", "A language model reads and writes tokens, one after the other.", "piece of text", "Piece"),
    _term("a tokenizer|tokenization", "A tokenizer cuts text into tokens and gives each one a number.", "It also turns numbers back into text.", "cuts text into tokens", "Cutter"),
    _term("BPE|byte-pair encoding|byte pair encoding", "BPE builds tokens by merging the most frequent pairs of pieces.", "It starts from single bytes, so that any text can be written.", "merging the most frequent pairs", "Merging"),
    _term("a vocabulary|the vocabulary", "The vocabulary is the list of all tokens that a model knows.", "The vocabulary of Llama 3 has 128,256 tokens.", "list of all tokens", "List"),
    _term("an embedding|embeddings", "An embedding is a vector of numbers that stands for a token.", "Tokens with similar meaning have similar vectors.", "vector of numbers", "Vector"),
    _term("attention|self-attention", "**Attention** lets each token look back at earlier tokens and take what it needs.", "Queries are compared with keys, and values are mixed by the result.", "look back at earlier tokens", "Looking"),
    _term("an attention head|a head", "An attention head is one unit that decides which earlier tokens to read.", "A layer has many heads, and each can look for something else.", "which earlier tokens to read", "Reader"),
    _term("a query vector|the query in attention", "A query is the vector that says what a token is looking for.", "It is compared with the keys of all earlier tokens.", "what a token is looking for", "Search"),
    _term("a key vector|the key in attention", "A key is the vector that says what a token offers to others.", "Queries are compared with keys.", "what a token offers", "Offer"),
    _term("multi-head attention|MHA", "Multi-head attention runs several attention heads side by side.", "Their results are joined and mixed by one matrix.", "several attention heads side by side", "Parallel"),
    _term("grouped-query attention|GQA", "**Grouped-query attention** lets several query heads share one key and value head.", "It makes the KV cache smaller: 8 times for a 70B Llama.", "share one key and value head", "Sharing"),
    _term("the KV cache|a KV cache|KV caching", "The KV cache keeps the keys and values of earlier tokens, so they are not computed again.", "It makes writing fast and costs memory for every token.", "keeps the keys and values", "Memory"),
    _term("RoPE|rotary position embedding|rotary embeddings", "**RoPE** rotates queries and keys by an angle that depends on the position.", "So attention can feel how far apart two tokens are.", "rotates queries and keys", "Rotation"),
    _term("RMSNorm|root mean square normalization", "RMSNorm divides a vector by its root mean square, so that its size stays steady.", "Llama uses it before attention and before the feed-forward part.", "root mean square", "Normalization"),
    _term("SwiGLU|the SwiGLU activation", "SwiGLU is a feed-forward layer in which one branch gates the other.", "Its formula is `down(silu(gate(x)) * up(x))`.", "one branch gates the other", "Gate"),
    _term("softmax|the softmax function", "Softmax turns scores into probabilities that add up to one.", "A higher score gets a higher probability.", "turns scores into probabilities", "Probabilities"),
    _term("a logit|logits", "A logit is the raw score that a model gives to a possible next token.", "Softmax turns the logits into probabilities.", "raw score", "Score"),
    _term("a logprob|a log probability", "A logprob is the logarithm of the probability of a token.", "It is zero for a sure token and negative otherwise.", "logarithm of the probability", "Logarithm"),
    _term("temperature|the temperature|sampling temperature", "**Temperature** sets how bold the sampling is: low is safe, high is wild.", "The logits are divided by it; at zero the best token always wins.", "how bold the sampling is", "Boldness"),
    _term("top-k|top-k sampling|top k", "Top-k keeps only the k most likely tokens before one is drawn.", "All other tokens get no chance.", "k most likely tokens", "Cutoff"),
    _term("top-p|top-p sampling|nucleus sampling|top p", "Top-p keeps the smallest set of tokens whose probabilities add up to p.", "It is also called nucleus sampling.", "smallest set of tokens", "Nucleus"),
    _term("min-p|min-p sampling|min p", "Min-p drops tokens whose probability is too small beside that of the best token.", "With 0.1, a token needs a tenth of the best one's probability.", "too small beside", "Threshold"),
    _term("greedy decoding|greedy search", "Greedy decoding always takes the most likely token.", "So the same prompt gives the same answer each time.", "always takes the most likely token", "Best"),
    _term("sampling|random sampling", "Sampling draws the next token at random, by its probability.", "So the same prompt can give different answers.", "draws the next token at random", "Drawing"),
    _term("a seed|a random seed|the seed", "A seed is a number that makes random draws repeatable.", "The same seed and the same prompt give the same answer.", "makes random draws repeatable", "Repeatability"),
    _term("beam search|beam decoding", "Beam search keeps several candidate texts and goes on with the best.", "It is seldom used for chat.", "several candidate texts", "Candidates"),
    _term("a repetition penalty|the repetition penalty", "A repetition penalty lowers the scores of tokens that were already used.", "It helps against loops.", "tokens that were already used", "Variety"),
    _term("quantization|quantisation|a quantized model", "**Quantization** stores weights with fewer bits, so that a model needs less memory.", "A little accuracy is lost.", "weights with fewer bits", "Compression"),
    _term("int8|int8 quantization|8-bit quantization", "Int8 stores each weight in one byte, half of what bfloat16 needs.", "A scale for each row turns the bytes back into numbers.", "each weight in one byte", "Byte"),
    _term("nf4|NF4|4-bit NormalFloat", "NF4 is a 4-bit format made for weights that follow a normal distribution.", "QLoRA uses it for the frozen base model.", "4-bit format", "Four-bit"),
    _term("GGUF|a GGUF file", "GGUF is the file format of llama.cpp, with weights, tokenizer and settings in one file.", "It often holds quantized weights.", "file format of llama.cpp", "Format"),
    _term("safetensors|a safetensors file", "Safetensors is a file format that holds tensors only and runs no code.", "So it is safe to open.", "runs no code", "Safety"),
    _term("llama.cpp", "Llama.cpp is a program in C++ that runs models on ordinary computers.", "It reads GGUF files.", "program in C++", "Program"),
    _term("LoRA|low-rank adaptation", "**LoRA** trains two small matrices beside each frozen weight matrix.", "So fine-tuning needs little memory, and the result is a small file.", "two small matrices", "Adaptation"),
    _term("QLoRA", "QLoRA is LoRA on a base model that is quantized to 4 bits.", "It needs much less memory than full fine-tuning.", "quantized to 4 bits", "Thrift"),
    _term("the rank of LoRA|LoRA rank|the rank", "The rank is the inner size of LoRA's two small matrices.", "A higher rank can learn more and costs more memory.", "inner size", "Size"),
    _term("an adapter|a LoRA adapter", "An adapter is a small set of trained weights that is added to a frozen model.", "You can switch it on and off.", "added to a frozen model", "Addition"),
    _term("fine-tuning|finetuning", "Fine-tuning trains a finished model a little more on your own examples.", "It changes style and skills more than knowledge.", "trains a finished model a little more", "Training"),
    _term("pre-training|pretraining", "Pre-training is the first, long training, in which a model learns to guess the next token.", "Llama 3.1 saw more than 15 trillion tokens.", "first, long training", "Learning"),
    _term("instruction tuning|an instruct model", "Instruction tuning teaches a model to answer requests like an assistant.", "Models with Instruct in their name had it.", "answer requests like an assistant", "Obedience"),
    _term("RLHF|reinforcement learning from human feedback", "RLHF trains a model with rewards that come from human preferences.", "It makes answers more helpful and safer.", "human preferences", "Preference"),
    _term("distillation|knowledge distillation", "Distillation trains a small model to copy the output of a big one.", "Llama 3.2 1B and 3B learned that way in part.", "copy the output of a big one", "Imitation"),
    _term("a loss|the loss|training loss", "The loss says how wrong the model's guesses are; training makes it smaller.", "For language models it is the negative logprob of the right token.", "how wrong the model's guesses are", "Error"),
    _term("perplexity", "Perplexity says how many tokens the model hesitates between, on average.", "It is the exponential of the loss, and lower is better.", "how many tokens the model hesitates between", "Surprise"),
    _term("a gradient|the gradient", "A gradient says in which direction each weight changes the loss.", "Training steps go against it.", "in which direction each weight", "Direction"),
    _term("backpropagation|backprop", "Backpropagation computes the gradients, from the last layer back to the first.", "It is the chain rule at work.", "from the last layer back to the first", "Backwards"),
    _term("the learning rate|a learning rate", "The learning rate sets how big each training step is.", "Too high is unstable, too low is slow.", "how big each training step is", "Stepsize"),
    _term("an optimizer|the optimizer|AdamW", "An optimizer turns gradients into changes of the weights; AdamW is the usual one.", "It remembers an average of past gradients.", "turns gradients into changes", "Update"),
    _term("an epoch", "An epoch is one pass over all the training data.", "Large models see most of their data only once.", "one pass over all", "Pass"),
    _term("a batch|the batch size", "A batch is a group of examples that are processed together.", "Bigger batches use a GPU better and need more memory.", "group of examples", "Group"),
    _term("overfitting", "Overfitting means that a model learns its examples by heart and fails on new ones.", "A held-out set shows it.", "by heart", "Memorizing"),
    _term("the context window|a context window|context length", "The context window is the number of tokens that a model can see at once.", "What does not fit is forgotten.", "tokens that a model can see at once", "Span"),
    _term("a prompt|the prompt", "A prompt is the text that you give to a model.", "The model goes on from there.", "text that you give", "Input"),
    _term("a system prompt|the system prompt|a system message", "A system prompt tells the model how to behave, before the chat begins.", "For example: `Answer in capitals.`", "how to behave", "Rules"),
    _term("a chat template|the chat template", "A chat template turns messages into the one text that a model was trained on.", "It writes headers for roles and marks where turns end.", "turns messages into the one text", "Layout"),
    _term("a special token|special tokens", "A special token is a mark for structure, such as the start of a text or the end of a turn.", "Typed text never becomes one.", "mark for structure", "Mark"),
    _term("the end-of-turn token|eot_id|an end-of-turn token", "The end-of-turn token says that a speaker is done.", "When the model writes it, generation stops.", "speaker is done", "Stop"),
    _term("a stop string|stop strings", "A stop string ends the answer as soon as it appears in the text.", "You can choose it for each request.", "ends the answer as soon as", "End"),
    _term("a hallucination|hallucinations|hallucination", "A **hallucination** is an answer that sounds right but is made up.", "Check important facts in a good source.", "made up", "Invention"),
    _term("a mixture of experts|MoE|mixture of experts", "A **mixture of experts** has many feed-forward blocks and uses only a few for each token.", "So it is big in memory but quick to compute.", "only a few for each token", "Specialists"),
    _term("a router|the router in a mixture of experts|an MoE router", "A router chooses which experts work on a token.", "It is a small linear layer with one score for each expert.", "chooses which experts", "Chooser"),
    _term("an expert|an expert in a mixture of experts", "An expert is one of many feed-forward blocks that a router can choose.", "Llama 4 Scout has 16 experts in every layer.", "one of many feed-forward blocks", "Block"),
    _term("the logit lens|logit lens", "The **logit lens** shows which token each layer would already guess.", "It puts a middle layer's vector through the last norm and the output matrix.", "each layer would already guess", "Peek"),
    _term("an induction head|induction heads", "An **induction head** finds an earlier copy of the present token and repeats what came next.", "It helps a model to continue patterns.", "repeats what came next", "Copying"),
    _term("an ablation|ablation", "An ablation switches off a part of a model to see what it was good for.", "If the answer breaks, the part mattered.", "switches off a part", "Removal"),
    _term("the residual stream|a residual connection", "The residual stream is the running sum to which every layer adds its result.", "All layers read from it and write to it.", "running sum", "Sum"),
    _term("prefill|the prefill", "Prefill is the phase in which the model reads the whole prompt at once.", "It fills the KV cache.", "reads the whole prompt at once", "Reading"),
    _term("decode|decoding|the decode phase", "Decoding is the phase in which the model writes one token after the other.", "It is limited by memory bandwidth.", "writes one token after the other", "Writing"),
    _term("speculative decoding", "Speculative decoding lets a small model guess tokens that the big model then checks.", "The text stays the same and comes faster.", "big model then checks", "Guessing"),
    _term("streaming", "Streaming shows the answer token by token while it is written.", "You need not wait for the end.", "token by token while", "Live"),
    _term("latency|time to first token", "Latency is the time that you wait for an answer; the time to the first token counts most.", "A long prompt makes it longer.", "time that you wait", "Waiting"),
    _term("throughput|tokens per second", "Throughput is the number of tokens that are written each second.", "Batches make it higher.", "tokens that are written each second", "Speed"),
    _term("a transformer|the transformer architecture|transformers", "A **transformer** is a network of layers that mix attention and feed-forward parts.", "Llama is a transformer.", "mix attention and feed-forward", "Network"),
    _term("a neural network|neural networks", "A neural network is a function with many numbers that are learned from examples.", "Its layers multiply, add and bend vectors.", "learned from examples", "Function"),
    _term("a language model|an LLM|large language models", "A **language model** predicts the next token of a text.", "By doing it again and again, it writes.", "predicts the next token", "Predictor"),
    _term("a base model|base models", "A base model only continues text; it was not taught to chat.", "Use a raw completion for it.", "only continues text", "Continuation"),
    _term("a layer|the layers of a model", "A layer is one step of a model: attention first, then a feed-forward part.", "Llama 3.1 8B has 32 layers.", "one step of a model", "Step"),
    _term("the feed-forward network|the MLP|an MLP", "The feed-forward part works on each token alone and holds much of the knowledge.", "In Llama it is a SwiGLU.", "works on each token alone", "Thinking"),
    _term("a parameter|parameters", "A parameter is one number in a model that training can change.", "An 8B model has about 8 billion of them.", "number in a model that training can change", "Number"),
    _term("weights|the weights|model weights", "Weights are the numbers that a model has learned.", "They are stored in files, often several gigabytes.", "numbers that a model has learned", "Numbers"),
    _term("tied embeddings|weight tying", "Tied embeddings use one matrix for reading and for writing tokens.", "It saves parameters in small models like me.", "one matrix for reading and for writing", "Reuse"),
    _term("bfloat16|bf16", "Bfloat16 is a number format of 16 bits with the range of float32.", "It has only 8 bits of precision.", "number format of 16 bits", "Format"),
    _term("float32|fp32", "Float32 is a number format of 32 bits, about seven digits exact.", "Every number takes four bytes.", "number format of 32 bits", "Format"),
    _term("a GPU|GPUs", "A GPU is a processor that does thousands of calculations at the same time.", "Large models need one to be fast.", "thousands of calculations", "Processor"),
    _term("VRAM|video memory", "VRAM is the memory of a GPU; weights and KV cache must fit in it.", "An 8B model in bfloat16 needs 16 GB for its weights alone.", "memory of a GPU", "Memory"),
    _term("a Jupyter notebook|Jupyter|JupyterLab", "**Jupyter** shows code, results and text together in one notebook.", "I run inside it.", "code, results and text together", "Notebook"),
    _term("a kernel|a Jupyter kernel", "A kernel is the program that runs the cells of a notebook.", "Restart it and all variables are gone.", "runs the cells", "Runner"),
    _term("a magic command|a magic|magic commands", "A magic is a command that begins with a percent sign, such as `%llama`.", "Two percent signs take the whole cell.", "begins with a percent sign", "Command"),
    _term("tool calling|a tool call|function calling", "A tool call is a request of the model to run a function and give back the result.", "The model writes it as JSON.", "run a function", "Request"),
    _term("RAG|retrieval-augmented generation", "RAG looks up documents first and puts them into the prompt.", "So a model can answer from them.", "looks up documents first", "Lookup"),
    _term("prompt injection|a prompt injection", "Prompt injection hides orders in a text so that the model obeys them.", "Treat foreign text with care.", "hides orders in a text", "Attack"),
    _term("a benchmark|benchmarks", "A benchmark is a fixed set of tasks that measures what models can do.", "Compare only numbers from the same setting.", "fixed set of tasks", "Measure"),
    _term("alignment", "Alignment means making a model do what people want and value.", "Instruction tuning and RLHF help.", "what people want and value", "Values"),
)
