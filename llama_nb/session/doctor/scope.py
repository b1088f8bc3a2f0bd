"""What the checks of one examination share. Knows no check."""

from dataclasses import dataclass, field

from llama_nb.runtime.environment import Environment
from llama_nb.session.doctor.imports import Imports


@dataclass(frozen=True, slots=True)
class Scope:
    """What the checks of one examination share.

    Attributes
    ----------
    environment
        Where the examination runs; detected by who asked, since a thread cannot tell.
    account
        Whether the hub may be asked whose log-in this is: the one case in which the token is sent.
    imports
        How the imports of native libraries went.
    """

    environment: Environment
    account: bool = False
    imports: Imports = field(default_factory=Imports)
