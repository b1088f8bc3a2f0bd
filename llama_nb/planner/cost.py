"""What a number of tokens a month costs: GPUs rented by the hour against APIs billed by the token.

Arithmetic on dated prices under assumptions that all have a name: nothing here is measured, and no price is
called current. GPUs that are bought are left out: no price of theirs has a source.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from llama_nb.catalog import models
from llama_nb.catalog.catalog import ModelCard
from llama_nb.catalog.gpus import GpuSet, parse_gpus
from llama_nb.catalog.price_file import EDIT
from llama_nb.catalog.prices import Prices, Rent, prices
from llama_nb.catalog.providers import providers
from llama_nb.core.errors import CostError, FitError, UnsupportedError, did_you_mean
from llama_nb.planner.amounts import parse_number, parse_share, parse_tokens
from llama_nb.planner.formats import find_format
from llama_nb.planner.job import Job
from llama_nb.planner.offers import HOURS, Api, Assumptions, Own
from llama_nb.planner.shape import Shape
from llama_nb.planner.throughput import gpus_needed, largest_batch, tokens_per_second

if TYPE_CHECKING:
    import pandas as pd

_MOST_HOURS: Final = 744.0
# A server is large enough for this many sequences at once, and takes more where they fit.
_FEWEST_SEQUENCES: Final = 16
_MOST_SEQUENCES: Final = 64
# A chart of half decades, in tokens a month.
VOLUMES: Final = (1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9, 3e9, 1e10)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a volume costs, by way of running it; `apis` and `owns` from cheap to dear.

    `model` is the catalogue's name. `notes` say what was left out and why.
    """

    model: str
    assumptions: Assumptions
    apis: tuple[Api, ...]
    owns: tuple[Own, ...]
    notes: tuple[str, ...]
    own_prices: bool = False

    @property
    def own(self) -> Own | None:
        """The cheapest servers at this volume."""
        return self.owns[0] if self.owns else None

    @property
    def api(self) -> Api | None:
        """The cheapest provider at this volume."""
        return self.apis[0] if self.apis else None

    @property
    def break_even(self) -> float | None:
        """Tokens a month from which a rented server costs no more than the cheapest provider, or None."""
        return self._break_even(self.api)[0] if self.api else None

    def _break_even(self, api: Api) -> tuple[float | None, Own | None]:
        """Return the smallest volume at which one of the servers draws level with `api`, and which does."""
        level = [(tokens, own) for own in self.owns if (tokens := own.break_even(api)) is not None]
        return min(level, key=lambda pair: pair[0], default=(None, None))

    @property
    def dates(self) -> tuple[str, ...]:
        """The dates of the prices used here, oldest first."""
        used = [*(offer.price.date for offer in self.apis), *(offer.rent.date for offer in self.owns)]
        return tuple(sorted(set(used)))

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each offer, cheapest first."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """Return one mapping for each offer: dollars a month and per million tokens, date and source."""
        tokens = self.assumptions.tokens_per_month
        found = [self._api_row(offer, tokens) for offer in self.apis]
        found += [self._own_row(offer, tokens) for offer in self.owns]
        return sorted(found, key=lambda row: float(row["usd_per_month"]))

    def curve(self) -> list[dict[str, Any]]:
        """Return the cheapest provider and the cheapest server at volumes from 1 M to 10 B tokens a month.

        The volume that was asked about and the one where both are level stand among them, marked.
        """
        asked, level = self.assumptions.tokens_per_month, self.break_even
        return [
            {
                "tokens": tokens,
                "mark": "asked" if tokens == asked else "level" if tokens == level else "",
                "api": min((offer.monthly(tokens) for offer in self.apis), default=None),
                "own": min((offer.monthly(tokens) for offer in self.owns), default=None),
            }
            for tokens in sorted({*VOLUMES, asked, *([] if level is None else [level])})
        ]

    def to_record(self) -> dict[str, Any]:
        """Return everything that a view shows."""
        tokens, level = self._break_even(self.api) if self.api else (None, None)
        return {
            "model": self.model,
            "assumptions": {
                name: getattr(self.assumptions, name) for name in Assumptions.__dataclass_fields__
            },
            "rows": self.rows(),
            "curve": self.curve(),
            "break_even": tokens,
            "level": level and {"name": level.name, "provider": level.provider, "capacity": level.capacity},
            "api": self.api and {"provider": self.api.provider, "per_million": self.api.per_million},
            "cheapest_full": min((own.per_million_full for own in self.owns), default=None),
            "dates": self.dates,
            "edit": EDIT,
            "own_prices": self.own_prices,
            "notes": self.notes,
        }

    def __repr__(self) -> str:
        from llama_nb.render.cost import cost_text

        return cost_text(self.to_record())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from llama_nb.render.cost import cost_bundle

        return cost_bundle(self.to_record())

    def _api_row(self, offer: Api, tokens: float) -> dict[str, Any]:
        return {
            "offer": offer.provider,
            "kind": "api",
            "usd_per_month": offer.monthly(tokens),
            "usd_per_million": offer.per_million,
            "break_even": self._break_even(offer)[0],
            "tokens_per_s": None,
            "price": f"{_dollars(offer.price.input)} in, {_dollars(offer.price.output)} out per M tokens",
            "date": offer.price.date,
            "source": offer.price.source,
        }

    def _own_row(self, offer: Own, tokens: float) -> dict[str, Any]:
        servers = offer.servers(tokens)
        several = f"{servers} servers of " if servers > 1 else ""
        return {
            "offer": f"{several}{offer.name}, {offer.provider}",
            "kind": "rented GPU",
            "usd_per_month": offer.monthly(tokens),
            "usd_per_million": offer.monthly(tokens) / tokens * 1e6,
            "break_even": None,
            "tokens_per_s": offer.bound,
            "price": f"{_dollars(offer.rent.per_hour)} per GPU and hour",
            "date": offer.rent.date,
            "source": offer.rent.source,
        }


def cost(
    tokens_per_month: str | float = "50M",
    model: str = "llama-3.3-70b-instruct",
    *,
    input_share: str | float = 0.75,
    gpu: str | None = None,
    hours: float = HOURS,
    utilisation: str | float = 0.4,
    tokens_per_s: float | None = None,
    context: int = 2048,
    batch: int | None = None,
    quant: str = "none",
) -> Cost:
    """Compare what a number of tokens a month costs on rented GPUs and from providers.

    Prices carry their dates and are not current; `%llama cost --edit` makes a copy of your own.

    Parameters
    ----------
    tokens_per_month
        Prompts and answers together: "50M", "1.5B", 2e6.
    model
        A model of the catalogue: "llama-3.3-70b-instruct", "3.1 8b instruct".
    input_share
        Share of prompt tokens: 0.75 or "75%".
    gpu
        "H100", or "2xH100" for exactly two in each server. None compares every GPU that has a price, each at
        the provider that takes least for it.
    hours
        Rented hours a month, at most 744.
    utilisation
        Share of the bound reached over all rented hours.
    tokens_per_s
        Measured tokens a second (prompts and answers) of one server, in place of the bound.
    context
        Tokens of each sequence in the cache.
    batch
        Sequences that decode together; None takes as many as fit, 16 to 64.
    quant
        How the weights are kept on the GPU: "none" (bfloat16), "int8", "nf4" ...

    Raises
    ------
    CostError
        If an amount is impossible, a GPU has no price, or the file of prices is damaged.
    CatalogError
        If the model or the GPU is unknown.
    FitError
        If the model does not fit into the number of GPUs that was asked for.
    """
    card = models.find(model)
    several = None if batch is None else int(parse_number("batch", batch, 1, 4096, whole=True))
    measured = None if tokens_per_s is None else parse_number("tokens_per_s", tokens_per_s, 0.001, 10_000_000)
    assumed = Assumptions(
        tokens_per_month=parse_tokens(tokens_per_month),
        input_share=parse_share("input_share", input_share),
        utilisation=parse_share("utilisation", utilisation, above_zero=True),
        hours=parse_number("hours", hours, 1, _MOST_HOURS),
        batch=several,
        context=int(parse_number("context", context, 1, 10_485_760, whole=True)),
        quant=quant,
        tokens_per_s=measured,
    )
    return _compare(card, gpu, assumed)


def _compare(card: ModelCard, gpu: str | None, assumed: Assumptions) -> Cost:
    """Return what the providers and the servers take under the assumptions, from cheap to dear."""
    known = prices()
    apis = [
        Api(_name(price.provider), price, assumed.input_share)
        for price in known.api
        if price.model == card.name
    ]
    owns, notes = _owns(card, gpu, assumed, known)
    tokens = assumed.tokens_per_month
    return Cost(
        model=card.name,
        assumptions=assumed,
        apis=tuple(sorted(apis, key=lambda offer: offer.monthly(tokens))),
        owns=tuple(sorted(owns, key=lambda offer: (offer.monthly(tokens), offer.gpus))),
        notes=(
            *_unpriced(card, apis),
            *notes,
            "GPUs that one buys are left out: no price of theirs has a source.",
        ),
        own_prices=any(price.own for price in known.api) or any(rent.own for rent in known.rents),
    )


def _owns(
    card: ModelCard, asked: str | None, assumed: Assumptions, known: Prices
) -> tuple[list[Own], list[str]]:
    """Return the servers that the model fits on, and what to say about those it does not."""
    if card.shape is None:
        message = f"{card.name} has no sourced shape, so the GPUs that it needs cannot be computed"
        if asked is not None:
            raise UnsupportedError(f"{message}.", "Without `gpu` its providers are compared.")
        return [], [f"{message}."]
    if card.context is not None and assumed.context > card.context:
        raise CostError(
            f"context is {assumed.context:,}; {card.name} knows {card.context:,} tokens.",
            "`context` is what one prompt and its answer have together, on average.",
        )
    shape = Shape.from_config(card.config)
    find_format(assumed.quant)
    job = Job(shape, assumed.quant, context=assumed.context, batch=assumed.batch or _FEWEST_SEQUENCES)
    found, too_small = [], []
    for gpus, rents in _rented(asked, known.rents):
        try:
            count = gpus_needed(job, gpus)
        except FitError:
            if asked is not None:
                raise
            too_small.append(gpus.name)
            continue
        found += [_server(rent, count, gpus, job, assumed) for rent in rents]
    return found, [f"It does not fit on 64 of: {', '.join(too_small)}."] if too_small else []


def _server(rent: Rent, count: int, gpus: GpuSet, job: Job, assumed: Assumptions) -> Own:
    if assumed.batch is None:
        job = replace(job, batch=largest_batch(job, count, gpus, _MOST_SEQUENCES))
    bound = assumed.tokens_per_s or tokens_per_second(job, count, gpus, assumed.input_share)
    return Own(
        provider=_name(rent.provider),
        rent=rent,
        gpus=count,
        batch=job.batch,
        bound=bound,
        capacity=bound * assumed.utilisation * 3600 * assumed.hours,
        server_monthly=count * rent.per_hour * assumed.hours,
    )


def _rented(asked: str | None, rents: Iterable[Rent]) -> list[tuple[GpuSet, list[Rent]]]:
    """Return the GPUs to compare, each with the providers that rent it out."""
    by_gpu: dict[str, list[Rent]] = {}
    for rent in rents:
        by_gpu.setdefault(rent.gpu, []).append(rent)
    if asked is None:
        cheapest = {name: min(group, key=lambda rent: rent.per_hour) for name, group in by_gpu.items()}
        return [(parse_gpus(name), [rent]) for name, rent in cheapest.items()]
    gpus = parse_gpus(asked)
    name = gpus.gpu.name if gpus.gpu else gpus.name
    if name not in by_gpu:
        near = did_you_mean(name, by_gpu)
        raise CostError(
            f"There is no sourced price for renting {'a GPU of ' if gpus.gpu is None else ''}{name}.",
            f"{near} Priced: {', '.join(by_gpu)}. To add one: `{EDIT}`".strip(),
        )
    return [(gpus, by_gpu[name])]


def _unpriced(card: ModelCard, apis: Iterable[Api]) -> list[str]:
    priced = {offer.price.provider for offer in apis}
    missing = [
        provider.name
        for provider in providers
        if provider.kind in ("api", "cloud") and provider.key not in priced
    ]
    return [f"No sourced price for {card.name}: {', '.join(missing)}."] if missing else []


def _name(key: str) -> str:
    return next((provider.name for provider in providers if provider.key == key), key)


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 0.1 or amount == 0 else f"${amount:.3g}"
