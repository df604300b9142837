"""`python -m app`: the command line of the desk."""

from __future__ import annotations

import argparse
import sys

from app.settings import SettingsError


def parser() -> argparse.ArgumentParser:
    """The command line; each command says what it does in one line."""
    top = argparse.ArgumentParser(prog="python -m app", description="Flowgate: Kafka-native trading on IB, paper only.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="run the whole desk on this machine and watch it trade")
    demo.add_argument("--source", default="synthetic", help="synthetic, a LOBSTER zip or a Binance recording")
    demo.add_argument("--speed", type=float, default=1.0, help="event time per wall time (default: 1)")
    demo.add_argument("--seed", type=int, default=7, help="seed of the synthetic market (default: 7)")
    demo.add_argument("--duration", type=float, default=0.0, help="seconds, then a summary; 0 runs until Ctrl-C")
    feed = commands.add_parser("feed", help="send a market source to the market_raw topic")
    feed.add_argument("--source", default="synthetic")
    feed.add_argument("--speed", type=float, default=1.0)
    feed.add_argument("--seed", type=int, default=7)
    feed.add_argument("--warm-up", type=float, default=0.0, help="seconds of event time to send at once at the start")
    topics = commands.add_parser("topics", help="create the topics on the broker, or compare them")
    action = topics.add_mutually_exclusive_group(required=True)
    action.add_argument("--apply", action="store_true", help="create what is missing; deletes nothing")
    action.add_argument("--check", action="store_true", help="exit with 1 when the broker differs from the declaration")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; a wrong setting ends it with one sentence."""
    options = parser().parse_args(argv)
    try:
        return run(options)
    except SettingsError as error:
        sys.stderr.write(f"flowgate: {error}\n")
        return 2


def run(options: argparse.Namespace) -> int:
    """Run the command that was asked for; each imports what it needs."""
    if options.command == "demo":
        from app import demo

        return demo.main(options.source, options.speed, options.seed, options.duration)
    if options.command == "feed":
        from app import feed, settings

        pace = feed.Pace(options.speed, options.warm_up)
        return feed.main(settings.load().kafka.bootstrap, options.source, options.seed, pace)
    from app import topics

    return topics.main(apply=options.apply)


if __name__ == "__main__":
    sys.exit(main())
