"""How a request is made: a question, its chat, the sampling and the schema become a Generation.

Everything is checked before anything is sent. Running it is generation's business.
"""

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.adapter import NO_ADAPTER
from llama_nb.core.errors import MessageError, UnsupportedError
from llama_nb.core.messages import Message
from llama_nb.core.sampling import Sampling
from llama_nb.session.ablating import active
from llama_nb.session.asking import Asked, check_text, read_question, refuse_images
from llama_nb.session.chat import Chat
from llama_nb.session.defaults import check_options, idle_options, resolve
from llama_nb.session.form import Form, read_form
from llama_nb.session.generation import Generation
from llama_nb.session.handle import Handle
from llama_nb.session.overflow import check_overflow
from llama_nb.session.reply import Reply
from llama_nb.session.turns import ChatTurn, Completion, OneOff, Turn
from llama_nb.session.version import Start, Version

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine

_CHAT_OPTIONS: Final = ("chat", "system", "overflow", "images", "schema", "background", "adapter")


class Sender(Handle):
    """A model to which requests can be made."""

    def _ask(
        self,
        message: Asked,
        chat: str | None,
        system: str | None,
        overflow: str,
        images: object,
        schema: object,
        options: Mapping[str, Any],
        adapter: str | None = None,
    ) -> Generation:
        if not self.alive:
            raise self._gone()
        check_options(options, _CHAT_OPTIONS)
        self._check_adapter(adapter)
        check_overflow(overflow)
        refuse_images(images, self.name)
        question = read_question(message, system)
        sampling = resolve(options, self._generation_config, self.context)
        form = self._form(schema)
        if question.whole and chat is None:
            reply = self._reply("chat", sampling, question.text, question.system, options=options)
            reply.form = form
            return self._generation(reply, OneOff(question, reply, overflow), adapter=adapter)
        talk = self.chats.open(chat)
        reply = self._reply("chat", sampling, question.text, question.system, talk.name, options)
        reply.form = form
        turn = ChatTurn(talk, question, reply, overflow)
        reply.rerunner = functools.partial(self._rerun, talk)
        return self._generation(reply, turn, talk, adapter=adapter)

    def _continue(
        self, text: str, schema: object, options: Mapping[str, Any], adapter: str | None = None
    ) -> Generation:
        if not self.alive:
            raise self._gone()
        check_options(options, ("schema", "background", "adapter"))
        self._check_adapter(adapter)
        if not isinstance(text, str) or not text:
            raise MessageError(
                "Nothing to send: the text is empty." if text == "" else "complete() takes a text."
            )
        check_text(text, "The text")
        sampling = resolve(options, self._generation_config, self.context)
        form = self._form(schema)
        reply = self._reply("complete", sampling, text, options=options)
        reply.form = form
        return self._generation(reply, Completion(text, reply), adapter=adapter)

    def one_off(
        self, message: Asked, system: str | None, options: Mapping[str, Any], adapter: str | None = None
    ) -> Generation:
        """Return how a message is answered outside of every chat; a base model goes on with it as a text.

        Parameters
        ----------
        adapter
            The adapter that answers, "off" for none; None: whatever is on.

        Raises
        ------
        UnsupportedError
            If the model has no chat template and the message is a conversation.
        """
        if self.engine.has_chat_template:
            whole = [Message("user", message)] if isinstance(message, str) else message
            return self._ask(whole, None, system, "error", None, None, options, adapter)
        if not isinstance(message, str):
            raise UnsupportedError(
                f"{self.name} is a base model: it goes on with a text and answers no conversation.",
                "Give one text, or load a model that follows instructions.",
            )
        return self._continue(message, None, options, adapter)

    def _check_adapter(self, adapter: str | None) -> None:
        """Raise AdapterError or UnsupportedError, before anything is sent, if `adapter` cannot answer."""
        if adapter not in (None, NO_ADAPTER) and adapter not in self.adapters:
            self.adapter_set().key(str(adapter))

    def _form(self, schema: object) -> Form | None:
        """Read what a reply is held to, and see that the engine can do it, before anything is sent."""
        if schema is None:
            return None
        form = read_form(schema)
        if not self.engine.capabilities.schema:
            raise UnsupportedError(
                f"{self.name} cannot be held to the {form.grammar}: its engine masks no tokens.",
                "Load a model into this kernel, such as `%llama load cria`, or ask without a schema.",
            )
        self.engine.check_grammar(form.grammar)
        return form

    def _rerun(self, talk: Chat | None, old: Reply, sampling: Sampling, background: bool) -> Reply:
        if old.request is None:
            raise MessageError("This reply was never sent, so it cannot be run again.")
        start = Start(
            old.asked,
            old.request,
            sampling,
            user=old.user,
            system=old.system,
            parent=old.parent,
            form=old.form,
            reader=old.reader,
            results=old.results,
        )
        return self._version(talk, lambda _: start, background, kind=old.kind, move=False)

    def _version(
        self,
        talk: Chat | None,
        start: "Callable[[Engine], Start]",
        background: bool,
        *,
        kind: Any = "chat",
        move: bool = True,
    ) -> Reply:
        """Answer a message again, as `start` says when the chat's turn has come."""
        reply = self._reply(kind, self.sampling, None, chat=talk.name if talk else None)
        reply.rerunner = functools.partial(self._rerun, talk)
        generation = self._generation(reply, Version(talk, reply, start, move=move), talk)
        return generation.start() if background else generation.run()

    def _reply(
        self,
        kind: Any,
        sampling: Sampling,
        user: str | None,
        system: str | None = None,
        chat: str | None = None,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> Reply:
        reply = Reply(
            kind=kind,
            model_name=self.name,
            fingerprint=self.fingerprint,
            sampling=sampling,
            user=user,
            system=system,
            chat=chat,
        )
        reply.notes += idle_options(options, sampling)
        reply.rerunner = functools.partial(self._rerun, None)
        return reply

    def _generation(
        self,
        reply: Reply,
        turn: Turn,
        talk: Chat | None = None,
        watch: Callable[[Any], AbstractContextManager[Any]] | None = None,
        adapter: str | None = None,
    ) -> Generation:
        reply.interventions = active(self)
        reply.asked_adapter = adapter
        reply.adapter = self.adapters.label if adapter is None else "" if adapter == NO_ADAPTER else adapter
        return Generation(
            reply,
            self.engine,
            turn,
            lock=talk.turn if talk else None,
            waits_for=f"chat {talk.name} on {self.name}" if talk else self.name,
            on_begin=self._add_active,
            on_end=self._drop_active,
            watch=watch,
        )
