"""What a user changes inside a model to see what it is for: parts turned off, experts chosen otherwise.

The weights stay as they are; who asks something else meanwhile is answered by the whole model.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, cast

from llama_nb.core.intervention import Intervention, Mode
from llama_nb.core.stop import StopFlag
from llama_nb.session.ablating import read_parts, turned_off
from llama_nb.session.ablation import AblationEffect, ablation_effect
from llama_nb.session.patching import PatchMap, Site, patch
from llama_nb.session.reading import find_reading
from llama_nb.session.routing_changes import read_routing
from llama_nb.session.sending import Sender

if TYPE_CHECKING:
    from llama_nb.session.chat import Chat
    from llama_nb.session.model import Model
    from llama_nb.session.reply import Reply


class Changer(Sender):
    """A model of which parts can be turned off, and whose routers can be told what to choose."""

    def ablate(
        self,
        *parts: str | Intervention,
        heads: Iterable[tuple[int, int]] = (),
        attention: Iterable[int] = (),
        mlps: Iterable[int] = (),
        layers: Iterable[int] = (),
        mode: Mode = "zero",
        over: str | None = None,
    ) -> AbstractContextManager[tuple[Intervention, ...]]:
        """Turn parts off for what is asked of this model in a `with` block.

        Replies that are asked for in the block are made without these parts, in the background too, and so is
        what is looked at there. They say so in a note, compute everything anew and leave the cache of their
        chat as it is. Nobody else notices: panels and other threads have the whole model. A thread that you
        start yourself takes the block along with `contextvars.copy_context().run`.

        Parameters
        ----------
        *parts
            As on a line: "3.5" is head 5 of layer 3, "3.attn" and "3.mlp" its attention and its MLP, "3" the
            whole layer. Of a mixture "3.shared" is the shared expert; "3.E5" forbids an expert, see `route`.
        heads
            Pairs (layer, head), from 0: what the head mixed never reaches the output projection.
        attention, mlps
            Layers whose attention or MLP adds nothing to the residual stream.
        layers
            Layers that add nothing at all: the residual stream passes through.
        mode
            "zero" has a part add nothing; "mean" has it add at every position the mean of what it adds to a
            text in the whole model.
        over
            The text of that mean; default the prompt of what is asked.

        Raises
        ------
        InterventionError
            If nothing is named, or the model has no such part.
        UnsupportedError
            If the model's weights are not in this kernel.

        Examples
        --------
        >>> with m.ablate(heads=[(3, 5)]):  # doctest: +SKIP
        ...     m.chat("What is a token?", seed=1)
        """
        model = cast("Model", self)
        off = read_parts(
            model, parts, heads=heads, attention=attention, mlps=mlps, layers=layers, mode=mode, over=over
        )
        return turned_off(model, off)

    def ablation(
        self,
        text: "str | Reply | Chat | None" = None,
        *parts: str | Intervention,
        chat: str | None = None,
        heads: Iterable[tuple[int, int]] = (),
        attention: Iterable[int] = (),
        mlps: Iterable[int] = (),
        layers: Iterable[int] = (),
        mode: Mode = "zero",
        over: str | None = None,
        position: int | None = None,
        tokens: int = 24,
        stop: StopFlag | None = None,
    ) -> AblationEffect:
        """Return what changes on a text when parts are turned off.

        Parameters
        ----------
        text
            A text, a Reply or a Chat; default the last reply, with the prompt that it answers.
        *parts, heads, attention, mlps, layers, mode, over
            What is turned off; see `ablate`.
        chat
            Name of the chat whose newest reply is meant.
        position
            The token behind which one looks, negative ones from the end; default the end of a text, and of a
            reply the place where it begins.
        tokens
            How many tokens both texts go on for, the likeliest each time.
        stop
            Ends the work, as an interrupt does.

        Raises
        ------
        InterventionError, MessageError, ContextOverflow, UnsupportedError
            If there is nothing to turn off or to look at.
        Stopped
            If it was stopped or interrupted.
        """
        model = cast("Model", self)
        off = read_parts(
            model, parts, heads=heads, attention=attention, mlps=mlps, layers=layers, mode=mode, over=over
        )
        reading = find_reading(model, text, chat=chat, what="ablate")
        return ablation_effect(model, reading, off, position=position, tokens=tokens, stop=stop)

    def route(
        self,
        *parts: str | Intervention,
        ban: Iterable[tuple[int, int]] = (),
        force: Iterable[tuple[int, int]] = (),
        drop_shared: bool | Iterable[int] = False,
        top_k: int | None = None,
    ) -> AbstractContextManager[tuple[Intervention, ...]]:
        """Route tokens otherwise for what is asked of this mixture of experts in a `with` block.

        As with `ablate`, and together with it: replies that are asked for in the block, and what is looked at
        there, are computed so, say so in a note and leave the cache of their chat as it is. Nobody else
        notices.

        Parameters
        ----------
        *parts
            As on a line: "3.E2" is an expert that is forbidden, "3.shared" a shared expert that is dropped,
            "3.mlp" the whole MoE layer; also what `ablate` takes.
        ban
            Pairs (layer, expert), from 0: experts that are never chosen. Their tokens go to others, and
            weights are made as if they were not there: their logits count as -inf.
        force
            Pairs (layer, expert): every token goes there, with the weight that the router gives it, in place
            of the last one that it would choose.
        drop_shared
            Layers whose shared expert adds nothing; True for all of them.
        top_k
            How many experts every router chooses, in place of the model's own number.

        Raises
        ------
        InterventionError
            If nothing is named, the model has no such MoE layer or expert, or a token is left with too few.
        UnsupportedError
            If the model has no experts, or its weights are not in this kernel.

        Examples
        --------
        >>> with m.route(ban=[(3, 2)]):  # doctest: +SKIP
        ...     m.chat("What is 2 + 3?", seed=1)
        """
        model = cast("Model", self)
        changes = read_routing(model, parts, ban=ban, force=force, drop_shared=drop_shared, top_k=top_k)
        return turned_off(model, changes)

    def routing_effect(
        self,
        text: "str | Reply | Chat | None" = None,
        *parts: str | Intervention,
        chat: str | None = None,
        ban: Iterable[tuple[int, int]] = (),
        force: Iterable[tuple[int, int]] = (),
        drop_shared: bool | Iterable[int] = False,
        top_k: int | None = None,
        position: int | None = None,
        tokens: int = 24,
        stop: StopFlag | None = None,
    ) -> AblationEffect:
        """Return what changes on a text when its tokens are routed otherwise.

        Parameters
        ----------
        text
            A text, a Reply or a Chat; default the last reply, with the prompt that it answers.
        *parts, ban, force, drop_shared, top_k
            What is changed; see `route`.
        chat, position, tokens, stop
            Where one looks, and how far both texts go on; see `ablation`.

        Raises
        ------
        InterventionError, MessageError, ContextOverflow, UnsupportedError
            If there is nothing to change or to look at, or the model has no experts.
        Stopped
            If it was stopped or interrupted.
        """
        model = cast("Model", self)
        changes = read_routing(model, parts, ban=ban, force=force, drop_shared=drop_shared, top_k=top_k)
        reading = find_reading(model, text, chat=chat, what="route")
        return ablation_effect(model, reading, changes, position=position, tokens=tokens, stop=stop)

    def patch(
        self,
        clean: "str | Reply | Chat",
        corrupt: "str | Reply | Chat",
        answer: str | int | None = None,
        wrong: str | int | None = None,
        *,
        site: Site = "layer",
        positions: Sequence[int] | slice | None = None,
        stop: StopFlag | None = None,
    ) -> PatchMap:
        """Put what the model knows in one text into its run on another, place by place: activation patching.

        Where the answer of the clean text comes back, the model holds what decides it (Meng et al. 2022,
        https://arxiv.org/abs/2202.05262; Wang et al. 2022, https://arxiv.org/abs/2211.00593). The measure is
        logit(answer) - logit(wrong) behind the last token, scaled: 0 is the corrupt run, 1 the clean one.

        Parameters
        ----------
        clean, corrupt
            Two texts with equally many tokens, such as "The capital of France is" and "... of Italy is".
        answer, wrong
            The tokens that are compared, as text or id; default what either text goes on with.
        site
            What is put in, one layer and position at a time: the residual stream behind the "layer", or what
            its "attention" or its "mlp" adds. With "head" one head at a time, at all positions.
        positions
            Which tokens: numbers, a range or a slice; default all.
        stop
            Ends the work, as an interrupt does.

        Raises
        ------
        MessageError
            If the texts differ in length, or both go on alike.
        Stopped
            If it was stopped or interrupted.
        """
        model = cast("Model", self)
        both = (find_reading(model, clean, what="patch"), find_reading(model, corrupt, what="patch"))
        return patch(model, both, (answer, wrong), site=site, positions=positions, stop=stop)
