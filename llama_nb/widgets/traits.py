"""Trait classes that sync with the page by default, so that a widget's state is what its class lists.

A trait that must stay in the kernel is a plain attribute instead.
"""

from typing import Any

import traitlets


def _synced(trait: Any) -> Any:
    return trait.tag(sync=True)


class Text(traitlets.Unicode):
    """A string that both sides see."""

    def __init__(self, default: str = "", **options: Any) -> None:
        super().__init__(default, **options)
        _synced(self)


class Flag(traitlets.Bool):
    """True or false, on both sides."""

    def __init__(self, default: bool = False, **options: Any) -> None:
        super().__init__(default, **options)
        _synced(self)


class Count(traitlets.Int):
    """A whole number that both sides see."""

    def __init__(self, default: int = 0, **options: Any) -> None:
        super().__init__(default, **options)
        _synced(self)


class Texts(traitlets.List):
    """A list of strings."""

    def __init__(self, **options: Any) -> None:
        super().__init__(traitlets.Unicode(), **options)
        _synced(self)


class Nodes(traitlets.List):
    """A list of nodes as `render.markdown` makes them: strings and dicts with t, a and c."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _synced(self)


class Binary(traitlets.Bytes):
    """Bytes that the page gets as a DataView, beside the JSON of the same message.

    Custom messages with buffers are not supported everywhere (Colab), so large data are traits.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(b"", **options)
        _synced(self)


class Record(traitlets.Dict):
    """A JSON object; `shape` names its TypeScript interface in labextension/widgets/shapes.ts."""

    def __init__(self, shape: str, **options: Any) -> None:
        super().__init__(**options)
        _synced(self)
        self.shape = shape
