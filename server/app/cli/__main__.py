"""`arena`, and `python -m app.cli`."""

import signal


def main() -> None:
    """Run the command. Until it has begun, Ctrl-C ends the process at once: there is nothing to end in order."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from app.cli.arena import run  # noqa: PLC0415 - only now, since what it imports takes a second

    run()


if __name__ == "__main__":
    main()
