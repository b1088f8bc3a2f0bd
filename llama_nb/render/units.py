"""Sizes and counts as people read them: three significant digits and a unit."""


def size(count: float) -> str:
    """Return a number of bytes: "812 B", "12.6 MB", "2.35 GB" (powers of 1000)."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB"), " ")


def number(count: float) -> str:
    """Return a number of parameters or tokens: "260 k", "3.1 M", "8.03 B"."""
    return _scaled(count, ("", "k", "M", "B", "T"), " ").rstrip()


def figure(value: float) -> str:
    """Return a figure without a unit of its own: "0.123", "47,500", "1.2e+06"."""
    return f"{float(f'{value:.3g}'):,g}" if value < 1e6 else f"{value:.3g}"


def _scaled(value: float, units: tuple[str, ...], gap: str) -> str:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    digits = 0 if power == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{gap}{units[power]}"
