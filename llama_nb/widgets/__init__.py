"""Live views in the page: one file per widget, one per concern around them.

Widgets show values of the layers below and send a click back; they hold no model logic. What stays in a
saved notebook is never a widget but the bundle that `render` makes.
"""
