"""The routing explorer in a page: which experts each token goes through, how even that is, and what it does.

Knows the page and its messages; what is computed is `session.routing_explorer`'s business, in threads.
What the page sends is untrusted: it is looked up and checked, and ignored where it is wrong.
"""

from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.traits import Binary, Record, Text


class RoutingExplorer(LiveWidget):
    """Which experts the tokens of a trace go through. Empty until `fill`."""

    _esm = STATIC / "routing.js"
    _css = STATIC / "routing.css"

    head = Record("RoutingHead")
    routes = Binary()
    routes_info = Record("RoutingRoutes")
    tokens = Record("RoutingTokens")
    load = Record("RoutingLoad")
    view = Record("RoutingView")
    paths = Record("RoutingPaths")
    expert = Record("RoutingExpert")
    effect = Record("RoutingEffect")
    cost = Record("RoutingCost")
    status = Text()
