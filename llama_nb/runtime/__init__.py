"""The machine and the place that code runs in: devices, memory, front end, settings, secrets. Never imports torch."""
