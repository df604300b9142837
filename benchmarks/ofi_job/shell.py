"""This project's worker with the OFI agent alone: the real transport, shell, table and step.

    python -m benchmarks.ofi_job.shell worker --without-web

With `OFI_JOB_PROFILE` it writes a profile of its main thread to that file when it ends.
"""

from __future__ import annotations

import cProfile
import functools
import os
from typing import Any

import faust

from agents.catalogue import catalogue
from agents.spec import AgentSpec
from app import settings as settings_module
from app import worker

GROUP = "signals"


@functools.cache
def ofi_app() -> faust.App:
    """The application of the signals group, whose catalogue has only the agent that the others run too."""

    def ofi_alone(*settings: Any) -> list[AgentSpec]:
        return [spec for spec in catalogue(*settings) if spec.name == "ofi"]

    vars(worker)["catalogue"] = ofi_alone
    return worker.build(settings_module.load(), GROUP)


def main() -> None:
    target = os.environ.get("OFI_JOB_PROFILE")
    if target is None:
        ofi_app().main()
        return
    profile = cProfile.Profile()
    try:
        profile.runcall(ofi_app().main)
    finally:
        profile.dump_stats(target)


if __name__ == "__main__":
    main()
