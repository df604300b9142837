"""The desk of the dev profile, for tests that look at all of its agents."""

from __future__ import annotations

import functools

from agents.catalogue import catalogue
from agents.spec import AgentSpec
from app import settings


@functools.cache
def specs() -> tuple[AgentSpec, ...]:
    """Every agent of every group."""
    return tuple(catalogue("all", settings.load().desk, "0" * 64))
