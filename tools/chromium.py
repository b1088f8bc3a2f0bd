"""Where a Chromium is on this machine. Standard library only."""

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# --no-sandbox and --disable-dev-shm-usage: containers; the rest keeps Chromium itself from calling anybody.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--no-first-run",
)


def on_path() -> str | None:
    """Return the path of a Chromium on the PATH, or None (then Playwright's own is used)."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)
