"""`python -m app`: the command line of the desk."""

from __future__ import annotations

import argparse
import logging
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
    demo.add_argument("--secure", action="store_true", help="a Kafka user for each process, with the rights it needs")
    feed = commands.add_parser("feed", help="send a market source to the market_raw topic")
    feed.add_argument("--source", default="synthetic")
    feed.add_argument("--speed", type=float, default=1.0)
    feed.add_argument("--seed", type=int, default=7)
    feed.add_argument("--warm-up", type=float, default=0.0, help="seconds of event time to send at once at the start")
    topics = commands.add_parser("topics", help="create the topics on the broker, or compare them")
    action = topics.add_mutually_exclusive_group(required=True)
    action.add_argument("--apply", action="store_true", help="create what is missing; deletes nothing")
    action.add_argument("--check", action="store_true", help="exit with 1 when the broker differs from the declaration")
    action.add_argument("--diff", action="store_true", help="print each difference, and exit with 0")
    reference = commands.add_parser("reference", help="the pages and values generated from the topics and contracts")
    action = reference.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write what is stale")
    action.add_argument("--check", action="store_true", help="exit with 1 when something is stale")
    schemas = commands.add_parser("schemas", help="JSON Schemas of the messages, and whether a change breaks a reader")
    action = schemas.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write contracts/schemas from the contracts")
    action.add_argument("--check", action="store_true", help="exit with 1 when stale or breaking without a new version")
    action.add_argument("--release", action="store_true", help="keep them as released: changes must be compatible")
    letters = commands.add_parser("deadletters", help="records that could not be processed: list, show, replay")
    actions = letters.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="counts by topic and reason, and the newest letters")
    show = actions.add_parser("show", help="one letter with its original")
    show.add_argument("source", help="the record, as topic/partition/offset")
    replay = actions.add_parser("replay", help="send the original, or a mended copy, to its topic again")
    replay.add_argument("source", help="the record, as topic/partition/offset")
    replay.add_argument("--file", help="a mended copy of the message; without it the original goes as it was")
    rights = commands.add_parser("security", help="the Kafka users of the desk and what each may do")
    action = rights.add_mutually_exclusive_group(required=True)
    action.add_argument("--list", action="store_true", help="print the rights")
    action.add_argument("--apply", action="store_true", help="grant them on the broker, as its administrator")
    commands.add_parser("doctor", help="is the broker there, are the topics, how far behind is each group")
    kill = commands.add_parser("kill", help="stop orders now, also without Kafka; latched until a reset")
    kill.add_argument("--scope", default="account", help="account, strategy:X, instrument:X or order:INTENT_ID")
    kill.add_argument("--flatten", action="store_true", help="close positions too")
    kill.add_argument("--rollback", action="store_true", help="cancel all, flatten, disconnect, keep the logs")
    lift = commands.add_parser("reset", help="allow trading again after a kill")
    lift.add_argument("--scope", default="account")
    lift.add_argument("--reducing", action="store_true", help="only orders that make a position smaller, until a reset")
    settle = commands.add_parser("resolve", help="settle an UNKNOWN or overfilled order, or take the broker's side")
    which = settle.add_mutually_exclusive_group(required=True)
    which.add_argument("--intent", help="the intent id of an order that is over")
    which.add_argument("--instrument", help="an instrument whose position is the broker's")
    which.add_argument("--cash", action="store_true", help="the account's cash is the broker's")
    change = commands.add_parser(
        "override", help="another value for one limit, for some hours; raising takes two names"
    )
    change.add_argument("--limit", required=True, help="a limit of the settings, such as order_lots_max")
    change.add_argument("--value", required=True, type=float)
    change.add_argument("--hours", required=True, type=float, help="of event time, 24 at most")
    change.add_argument("--approver", default="", help="a second person, without whom nothing is raised")
    for command in (kill, lift, settle, change):
        command.add_argument("--operator", required=True, help="your name")
        command.add_argument("--reason", required=True)
    explain = commands.add_parser("explain", help="the story of one order, from the quote to the fill")
    explain.add_argument("intent_id", nargs="?", default="")
    log = explain.add_mutually_exclusive_group()
    log.add_argument("--verify", action="store_true", help="check the hash chain of all decisions instead")
    log.add_argument("--export", metavar="FILE", help="and write them to a new file, a JSON line each, oldest first")
    commands.add_parser("study", help="order flow against returns on one source, as a page with plots")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; a wrong setting ends it with one sentence."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["study"]:
        # It has options of its own, and plots that the rest of the desk does not need.
        from app import study

        return study.main(arguments[1:])
    options = parser().parse_args(arguments)
    if options.command != "feed":
        # A command says in its own sentence what stands in the way of Kafka, before which the client has its own lines.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return run(options)
    except SettingsError as error:
        sys.stderr.write(f"flowgate: {error}\n")
        return 2


def run(options: argparse.Namespace) -> int:
    """Run the command that was asked for; each imports what it needs."""
    if options.command == "demo":
        from app import demo

        return demo.main(options.source, options.speed, options.seed, options.duration, secure=options.secure)
    if options.command == "feed":
        from app import feed, settings

        pace = feed.Pace(options.speed, options.warm_up)
        return feed.main(settings.load().kafka.access, options.source, options.seed, pace)
    if options.command == "reference":
        from app import reference

        return reference.main(check=options.check)
    if options.command == "schemas":
        from app import schemas

        return schemas.main("write" if options.write else "release" if options.release else "check")
    if options.command == "deadletters":
        from app import deadletters

        return deadletters.main(options.action, getattr(options, "source", ""), getattr(options, "file", None))
    if options.command == "security":
        from app import security

        return security.main(apply=options.apply)
    if options.command == "doctor":
        from app import doctor

        return doctor.main()
    if options.command == "explain":
        from app import explain, settings

        return explain.main(settings.load(), options.intent_id, verify=options.verify, export=options.export)
    if options.command in ("kill", "reset", "resolve", "override"):
        return operate(options)
    from app import topics

    return topics.main("apply" if options.apply else "check" if options.check else "diff")


def operate(options: argparse.Namespace) -> int:
    """Commands of an operator on a running desk."""
    from app import kill, killfile, operators, override, settings

    reach = settings.reach()
    who = options.operator, options.reason
    if options.command == "kill":
        flatten = options.flatten or options.rollback
        order = killfile.Kill(options.scope, *who, flatten, options.rollback)
        return kill.kill(reach, order, settings.strategies())
    if options.command == "reset":
        return operators.reset(reach, options.scope, *who, settings.strategies(), reducing=options.reducing)
    if options.command == "override":
        return override.override(
            reach, options.limit, options.value, options.hours, options.operator, options.approver, options.reason
        )
    return operators.resolve(reach, options.intent, options.instrument, *who, cash=options.cash)


if __name__ == "__main__":
    sys.exit(main())
