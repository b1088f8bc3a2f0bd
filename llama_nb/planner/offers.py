"""One way to compute tokens: a provider billed by the token, or servers on rented GPUs; when both are level.

Knows amounts and prices that it is given; which offers there are is in cost.py.
"""

import math
from dataclasses import dataclass
from typing import Final

from llama_nb.catalog.prices import ApiPrice, Rent

# 365 x 24 / 12.
HOURS: Final = 730.0


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Everything that the figures rest on beside the prices.

    Attributes
    ----------
    tokens_per_month
        Prompt and answer tokens together.
    input_share
        Share of prompt tokens.
    utilisation
        Share of the bound that is reached over all rented hours: hours without work and what servers lose.
    hours
        Rented hours a month; 730 is always.
    context
        Tokens of each sequence in the cache.
    batch
        Sequences that decode together; None takes as many as fit, 16 to 64.
    quant
        How weights are kept on the GPUs.
    tokens_per_s
        Measured tokens a second of one server at work; None takes the bound from the makers' figures.
    """

    tokens_per_month: float
    input_share: float = 0.75
    utilisation: float = 0.4
    hours: float = HOURS
    context: int = 2048
    batch: int | None = None
    quant: str = "none"
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Api:
    """A provider billed by the token. Prices are dollars per million tokens."""

    provider: str
    price: ApiPrice
    input_share: float

    @property
    def per_million(self) -> float:
        """Dollars for a million tokens of the mix."""
        return self.input_share * self.price.input + (1 - self.input_share) * self.price.output

    def monthly(self, tokens: float) -> float:
        """Return dollars a month for `tokens` tokens a month."""
        return tokens * self.per_million / 1e6


@dataclass(frozen=True, slots=True)
class Own:
    """Servers on rented GPUs.

    Attributes
    ----------
    gpus, batch
        How many GPUs one server has, and how many sequences it decodes together.
    bound
        The most tokens a second of one server, or what was measured.
    capacity
        Tokens a month of one server under the assumptions.
    server_monthly
        Dollars a month of one server.
    """

    provider: str
    rent: Rent
    gpus: int
    batch: int
    bound: float
    capacity: float
    server_monthly: float

    @property
    def name(self) -> str:
        """One server: "2x H100 SXM"."""
        return self.rent.gpu if self.gpus == 1 else f"{self.gpus}x {self.rent.gpu}"

    @property
    def per_million_full(self) -> float:
        """Dollars for a million tokens of a server that is always full."""
        return self.server_monthly / self.capacity * 1e6

    def servers(self, tokens: float) -> int:
        """Return how many servers `tokens` tokens a month keep busy, at least one."""
        return max(1, math.ceil(tokens / self.capacity))

    def monthly(self, tokens: float) -> float:
        """Return dollars a month for `tokens` tokens a month: whole servers."""
        return self.servers(tokens) * self.server_monthly

    def break_even(self, api: Api) -> float | None:
        """Return the tokens a month from which one server costs no more than `api`; None if it never does.

        It never does where a full server is still dearer. Beyond one server's capacity a second one is
        rented, and the comparison begins anew.
        """
        if api.per_million <= 0:
            return None
        tokens = self.server_monthly / api.per_million * 1e6
        return tokens if tokens <= self.capacity else None
