"""What surrounds the model: environment, devices, settings, secrets. No torch, no widgets."""
