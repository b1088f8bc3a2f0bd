"""Log out of the Hugging Face hub: the tokens that are kept on this machine are removed."""

from argparse import Namespace

from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama logout",)


def add_arguments(parser: VerbParser) -> None:
    """Declare nothing."""
    del parser


def run(args: Namespace, call: Call) -> Shown:
    """Remove them and say how many they were."""
    del args, call
    from llama_nb.runtime import hub_settings
    from llama_nb.session.login import logout

    removed = logout()
    text = f"Logged out: {removed} stored token{'' if removed == 1 else 's'} removed."
    source = hub_settings.token_source()
    if not removed:
        text = "No token is stored on this machine."
    if source is not None:
        text += f" {source} is still set in this kernel's environment and logs you in."
    return Shown(text)
