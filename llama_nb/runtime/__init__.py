"""What surrounds the model: environment, devices, settings, secrets.

No torch at import, no widgets.
"""
