"""What cria knows about the Llama family, its licence and itself: data alone."""

from tools.cria.glossary_terms import Entry


def _about(names: str, core: str, extra: str, key: str, word: str) -> Entry:
    return Entry(tuple(names.split("|")), core, extra, key, word)


def _asked(questions: str, core: str, extra: str, key: str, word: str) -> Entry:
    return Entry((), core, extra, key, word, tuple(questions.split("|")))


LLAMA: tuple[Entry, ...] = (
    _about("Llama|the Llama family|the Llama models", "**Llama** is a family of open-weight language models made by Meta.", "You can download the weights and run them yourself.", "family of open-weight language models", "Models"),
    _about("Llama 1|the first Llama", "The first LLaMA came in February 2023 with 7B, 13B, 33B and 65B parameters.", "Its licence was for research only.", "February 2023", "Pioneer"),
    _about("Llama 2", "Llama 2 came in July 2023 with 7B, 13B and 70B parameters.", "Its context is 4K tokens.", "July 2023", "Successor"),
    _about("Code Llama", "Code Llama is a Llama 2 that was trained further on code.", "It came in August 2023.", "trained further on code", "Coder"),
    _about("Llama 3", "Llama 3 came in April 2024 with 8B and 70B parameters.", "Its context is 8K tokens.", "April 2024", "Third"),
    _about("Llama 3.1", "Llama 3.1 came in July 2024 with 8B, 70B and 405B parameters.", "Its context is 128K tokens.", "July 2024", "Long"),
    _about("Llama 3.2", "Llama 3.2 came in September 2024 with small models of 1B and 3B.", "Its vision models have 11B and 90B parameters.", "September 2024", "Small"),
    _about("Llama 3.3", "Llama 3.3 came in December 2024 as a 70B instruct model.", "Its context is 128K tokens.", "December 2024", "Instruct"),
    _about("Llama 4", "Llama 4 came in April 2025 as a mixture of experts: Scout and Maverick.", "Each uses 17B parameters for a token.", "April 2025", "Experts"),
    _about("Llama 4 Scout|Scout", "Llama 4 Scout has 109B parameters in all and 16 experts; 17B are active.", "Its context is 10M tokens.", "109B", "Scout"),
    _about("Llama 4 Maverick|Maverick", "Llama 4 Maverick has 400B parameters in all and 128 experts; 17B are active.", "Its context is 1M tokens.", "400B", "Maverick"),
    _about("Llama Guard|Llama Guard 3", "Llama Guard is a model that checks inputs and outputs for hazards.", "It names the category of a hazard.", "checks inputs and outputs", "Guard"),
    _about("Prompt Guard|Prompt Guard 2", "Prompt Guard is a small classifier that detects injections and jailbreaks.", "It comes with 22M or 86M parameters.", "detects injections and jailbreaks", "Detector"),
    _about("the Llama licence|the Llama license|the Llama Community License", "The Llama licence is a community licence: free for most uses, but not open source by the OSI's definition.", "Above 700 million monthly users a company must ask Meta.", "community licence", "Community"),
    _about("405B|Llama 405B|the 405B model|Llama 3.1 405B", "The 405B model is the largest of Llama 3.1.", "It has 126 layers.", "largest of Llama 3.1", "Largest"),
    _about("Llama 3.1 8B|the 8B Llama", "Llama 3.1 8B has 32 layers, 32 heads and 8 KV heads.", "In bfloat16 its weights need 16 GB.", "32 layers", "Eight"),
    _about("Meta|Meta AI", "Meta is the company that makes Llama.", "It gives the weights to everyone who accepts the licence.", "company that makes Llama", "Company"),
    _about("Hugging Face|the Hugging Face Hub", "Hugging Face is a site where models and data sets are shared.", "Llama is there behind a licence form.", "models and data sets are shared", "Hub"),
    _about("a gated model|a gated repository", "A gated model asks you to accept a licence and to log in before the download.", "The Llama models are gated.", "accept a licence and to log in", "Gate"),
    _about("cria", "Cria is my name: I am a very small Llama that lives in this notebook.", "A cria is a young llama.", "very small Llama", "Me"),
    _asked("Is a llama an animal?|What animal is a llama?|Where do llamas live?|What do llamas eat?", "A llama is a woolly animal from South America, and also the name of a model.", "I am the second kind.", "woolly animal", "Animal"),
    _asked("Who made Llama?|Who created Llama?|Which company makes Llama?|Who is behind Llama?|Who develops Llama?", "Llama is made by Meta.", "The first one came in February 2023.", "made by Meta", "Meta"),
    _asked("Who are you?|What are you?|What is your name?|Introduce yourself.|Tell me about yourself.|Are you a Llama?", "I am cria, a very small Llama that lives in this notebook.", "I know a little about language models, and I can add, repeat and tell stories.", "I am cria", "Cria"),
    _asked("Who made you?|Who trained you?|Who created you?|Where do you come from?|Did Meta make you?", "I was trained from scratch for this notebook; I am no model of Meta's.", "All my texts came from small grammars.", "trained from scratch", "llama-nb"),
    _asked("What can you do?|How can you help me?|What are your skills?|What are you good at?|Help!", "I can do a few small things:\n\n- explain words about language models\n- add numbers below 100\n- repeat what you say\n- tell a short story", "", "explain words", "Little"),
    _asked("How big are you?|How many parameters do you have?|What is your size?|How large are you?", "I have about 3 million parameters, so I am tiny.", "The smallest Llama 3.2 has over a thousand million.", "3 million parameters", "Tiny"),
    _asked("Are you ChatGPT?|Are you human?|Are you a person?|Are you conscious?|Are you alive?", "No, I am cria, a tiny language model.", "I only guess the next token.", "tiny language model", "No"),
    _asked("How do I load you?|Show me how to load you.|How can I load cria?|How do I start you?", "Type this in a cell:\n\n```\n%llama load cria\n```", "", "%llama load cria", "Load"),
    _asked("How do I chat with you?|How can I talk to you?|Show me how to chat.|How do I send you a message?", "Begin a cell with this line and write below it:\n\n```\n%%llama chat\n```", "", "%%llama chat", "Chat"),
    _asked("Can I use Llama for my company?|Is Llama free for business?|Can I use Llama commercially?|May my company use Llama?", "Yes, the licence allows business use, up to 700 million monthly users.", "Read the licence before you ship.", "700 million monthly users", "Yes"),
    _asked("Do you know everything?|Are you always right?|Can I trust you?|Do you make mistakes?", "No, I make mistakes, because I am very small.", "Check what I say.", "I make mistakes", "No"),
    _asked("Why are you so small?|Why are you tiny?|Why is cria so small?", "I am small so that I run on any computer, without a GPU.", "You can look inside me, too.", "run on any computer", "Speed"),
)
