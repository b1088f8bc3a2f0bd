"""The objects that users hold: models, chats and replies, and where they are kept.

Importing this layer imports no torch: engines and loading are imported when a model is loaded.
"""
