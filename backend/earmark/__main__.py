"""``python -m earmark``: the command line."""

from earmark.processes.loading import loading

with loading():
    from earmark.cli import main

if __name__ == "__main__":
    main()
