"""``python -m backend``."""

from backend.loading import loading

with loading():
    from backend.cli import main

main()
