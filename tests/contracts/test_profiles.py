"""The profiles: every limit set, TLS outside dev, and prod at least as tight as paper."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from app import settings
from app.settings import Settings, SettingsError
from connectors.kafka.access import Access

AS_TIGHT_OR_TIGHTER: dict[str, Any] = {
    "gates_required": lambda prod, paper: set(prod) >= set(paper),
    "restricted": lambda prod, paper: set(prod) >= set(paper),
    "strategies": lambda prod, paper: set(prod) <= set(paper),
    "trading_weekdays": lambda prod, paper: set(prod) <= set(paper),
    "trading_minutes_utc": lambda prod, paper: paper[0] <= prod[0] <= prod[1] <= paper[1],
    "adv_lots": lambda prod, paper: all(lots <= paper[name] for name, lots in prod.items()),
    "universe": lambda prod, paper: set(prod) <= set(paper),
    "psr_min": lambda prod, paper: prod >= paper,
    "duplicate_window_buckets": lambda prod, paper: prod >= paper,
    "repeat_window_buckets": lambda prod, paper: prod >= paper,
    "price_move_period_buckets": lambda prod, paper: prod >= paper,
    "pov_window_buckets": lambda prod, paper: prod == paper,
}
"""Limits that are not simply smaller when they are tighter."""


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch) -> dict[str, Settings]:
    loaded = {}
    for name in ("dev", "paper", "prod"):
        monkeypatch.setenv("FLOWGATE_PROFILE", name)
        loaded[name] = settings.load()
    return loaded


def limits(profile: Settings) -> dict[str, Any]:
    """Everything that bounds trading, by name."""
    desk = profile.desk
    bounds = {name: getattr(desk.portfolio, name) for name in ("box", "turnover", "vol_target_annual")}
    return {**desk.limits.model_dump(), **desk.kill.model_dump(), **bounds, "universe": desk.market.universe}


def test_prod_only_tightens_paper(profiles: dict[str, Settings]) -> None:
    prod, paper = limits(profiles["prod"]), limits(profiles["paper"])
    wider = [
        f"{name}: prod {prod[name]}, paper {paper[name]}"
        for name in prod
        if not AS_TIGHT_OR_TIGHTER.get(name, lambda mine, theirs: mine <= theirs)(prod[name], paper[name])
    ]
    assert not wider


@pytest.mark.parametrize("name", ["dev", "paper", "prod"])
def test_every_limit_is_set_because_one_that_is_not_denies_everything(profiles: dict[str, Settings], name: str) -> None:
    assert not [limit for limit, value in limits(profiles[name]).items() if value is None]


def test_gates_are_required_by_where_the_orders_go(profiles: dict[str, Settings]) -> None:
    required = {name: profile.desk.limits.gates_required for name, profile in profiles.items()}
    assert required == {"dev": (1,), "paper": tuple(range(1, 7)), "prod": tuple(range(1, 9))}


@pytest.mark.parametrize(
    ("profile", "port", "gates", "account"),
    [
        ("paper", 4002, "[]", "a paper account requires the gates 1 to 6"),
        ("paper", 4002, "[1,2,3,4,5]", "a paper account requires the gates 1 to 6"),
        ("paper", 4002, "[1,2,3,4,5,7]", "a paper account requires the gates 1 to 6"),
        ("prod", 4002, "[1]", "a paper account requires the gates 1 to 6"),
        ("prod", 4001, "[1,2,3,4,5,6]", "a live account requires the gates 1 to 8"),
    ],
)
def test_no_setting_opens_a_gate_of_a_real_gateway(
    profile: str, port: int, gates: str, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWGATE_PROFILE", profile)
    monkeypatch.setenv("FLOWGATE_GATEWAY__PORT", str(port))
    monkeypatch.setenv("FLOWGATE_DESK__LIMITS__GATES_REQUIRED", gates)
    with pytest.raises(SettingsError, match=rf"^setting FLOWGATE_DESK__LIMITS__GATES_REQUIRED=.*: {account}$"):
        settings.load()
    assert settings.reach().gateway.port == port, "a kill needs no gates"


@pytest.mark.parametrize(("profile", "gates"), [("dev", "[]"), ("paper", "[1,2,3,4,5,6,7]"), ("paper", "null")])
def test_gates_may_be_left_out_for_the_simulated_gateway_and_added_for_any(
    profile: str, gates: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWGATE_PROFILE", profile)
    monkeypatch.setenv("FLOWGATE_DESK__LIMITS__GATES_REQUIRED", gates)
    settings.load()


@pytest.mark.parametrize("origin", ["desk.example", "https://desk.example/", "https://*", "null", "HTTPS://DESK"])
def test_an_origin_that_no_browser_sends_is_refused(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWGATE_WEB__ORIGIN", origin)
    with pytest.raises(SettingsError, match="FLOWGATE_WEB__ORIGIN"):
        settings.load()


@pytest.mark.parametrize("name", ["paper", "prod"])
def test_paper_and_prod_speak_tls_and_ask_for_a_user_whose_password_is_in_no_file(
    profiles: dict[str, Settings], name: str
) -> None:
    kafka = profiles[name].kafka
    assert (kafka.security, kafka.replication) == ("SASL_SSL", 3)
    assert kafka.ca is not None
    assert (kafka.user, kafka.password.get_secret_value()) == ("", "")


def test_a_certificate_that_is_not_there_is_told_in_a_sentence(profiles: dict[str, Settings]) -> None:
    kafka = profiles["paper"].kafka.model_copy(update={"ca": Path("nowhere.pem")})
    with pytest.raises(SettingsError, match=r"FLOWGATE_KAFKA__CA=nowhere.pem is not there"):
        _ = kafka.access


def test_tls_checks_the_certificate_and_the_name_of_the_broker() -> None:
    context = Access("kafka:9093", "SASL_SSL", "someone", "secret").options()["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
