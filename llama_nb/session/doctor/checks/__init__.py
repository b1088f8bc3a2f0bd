"""The checks: each file exports `check(scope)`, which returns what it found. A new file is a new check."""
