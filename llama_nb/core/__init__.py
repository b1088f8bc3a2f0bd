"""The vocabulary that every layer shares: errors, messages, sampling, requests, events.

Standard library only. Nothing here knows torch, Jupyter or a model.
"""
