"""The hub: whether it answers, whether there is a log-in and where it comes from, and the cache's health."""

import os
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from llama_nb.core.errors import LlamaError
from llama_nb.runtime import hub_settings
from llama_nb.session import cache
from llama_nb.session.doctor.check import Check, note, ok, problem
from llama_nb.session.doctor.checks.folders import writable
from llama_nb.session.doctor.scope import Scope
from llama_nb.session.login import account

_SECONDS: Final = 3.0


def check(scope: Scope) -> Iterator[Check]:
    """Yield what was found."""
    yield log_in()
    if scope.account:
        yield whose()
    yield models()
    yield reachable()


def reachable() -> Check:
    """Ask the hub for its front page, without a token."""
    if hub_settings.offline():
        return note("hub", "HF_HUB_OFFLINE is set: only models of the cache and bundled ones can be loaded.")
    address = hub_settings.endpoint()
    mirror = "" if "HF_ENDPOINT" not in os.environ else " (the mirror that HF_ENDPOINT names)"
    if urlsplit(address).scheme not in ("https", "http"):
        return problem("hub", "HF_ENDPOINT is no web address.", "Start the kernel without HF_ENDPOINT.")
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - http or https, just checked
    try:
        urllib.request.urlopen(request, timeout=_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError as answer:
        if answer.code == 407 or answer.code >= 500:
            return problem(
                "hub", f"It answers {answer.code}{mirror}.", "Look at HTTPS_PROXY, or try again later."
            )
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        said = str(reason) or type(error).__name__
        if "CERTIFICATE" in said.upper():
            return problem(
                "hub",
                f"Its certificate is not trusted{mirror}: a proxy may look into the traffic.",
                "Set SSL_CERT_FILE to your organisation's certificates.",
                said,
            )
        return problem(
            "hub",
            f"It cannot be reached{mirror}; models of the cache and bundled ones work.",
            "Look at the network and HTTPS_PROXY, or set HF_HUB_OFFLINE=1.",
            said,
        )
    return ok("hub", f"It answers{mirror}.")


def log_in() -> Check:
    """Say whether there is a log-in and where it comes from; never what it is."""
    source, file = hub_settings.token_source(), hub_settings.token_file()
    if source is None:
        return note(
            "log-in", "Nobody is logged in to the hub: gated models cannot be loaded.", "%llama login"
        )
    if os.name == "posix" and file.is_file() and stat.S_IMODE(file.stat().st_mode) & 0o077:
        return problem("log-in", "Other users can read the token's file.", "%llama login", str(file))
    if source == "file":
        return ok("log-in", "The token comes from its file.", str(file))
    if file.is_file():
        return note("log-in", f"The token comes from {source}, which wins over the one in the file.")
    return ok("log-in", f"The token comes from the variable {source}.")


def whose() -> Check:
    """Ask the hub whose log-in this is (only when that was asked for: the token is sent)."""
    try:
        return ok("account", "The hub knows the log-in.", account())
    except LlamaError as error:
        return problem("account", error.message, error.hint)


def models() -> Check:
    """Judge the cache of models: can it be written to, how large is it, what is half there."""
    folder = hub_settings.cache_folder()
    why = writable(folder)
    if why:
        return problem(
            "cache", f"Models cannot be stored: {why}.", "Set HF_HOME to a folder of yours.", str(folder)
        )
    found = cache.entries()
    figures = f"{len(found)} in {folder}, {sum(entry.bytes for entry in found) / 1e9:,.2f} GB"
    half = [entry for entry in found if not entry.complete]
    if half:
        return note(
            "cache",
            f"{len(half)} of its models cannot be loaded as they are: half-downloaded, or of another kind.",
            f"%llama models --delete {half[0].name}",
            figures,
        )
    return ok("cache", "It can be written to.", figures)
