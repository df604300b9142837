"""Settings: environment over secret files over the profile. Frozen, closed, and limits have no default in code.

A variable is `FLOWGATE_` and the path of the setting with two underscores: `FLOWGATE_DESK__LIMITS__ORDER_LOTS_MAX=100`.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from agents.catalogue import GROUPS
from agents.parameters import Desk
from connectors.ibkr.guard import PAPER_PORTS
from connectors.kafka.access import Access, Security

PROFILES: Final = Path(__file__).parent / "profiles"
SECRETS: Final = Path("/run/secrets/flowgate")


PAPER_GATE: Final = 6
LIVE_GATE: Final = 8
"""The last stage gate that an account requires, of which the session of stage 7 is on paper."""


class SettingsError(ValueError):
    """A setting is missing or wrong; the message says which and what to do."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kafka(Section):
    """Where Kafka is and who we are to it. `replication` of the topics the desk creates; `ca` as a PEM file.

    `session_s`: a worker that is silent for so long loses its partitions to others. It has to be longer than a killed
    worker needs to come back to them (2 to 5 s), and is the most that others leave them idle: 10 s is twice the
    one, and short of what a market notices. Brokers refuse less than 6 s unless told otherwise.
    """

    bootstrap: str
    replication: int = Field(gt=0)
    session_s: float = Field(10.0, ge=1.0)
    security: Security = "PLAINTEXT"
    user: str = ""
    password: SecretStr = SecretStr("")
    ca: Path | None = None

    @property
    def access(self) -> Access:
        """What a Kafka client needs to get in; SettingsError when the CA is not there."""
        if self.security == "SASL_SSL" and self.ca is not None and not self.ca.exists():
            raise SettingsError(f"FLOWGATE_KAFKA__CA={self.ca} is not there; mount the broker's CA or set its path")
        return Access(self.bootstrap, self.security, self.user, self.password.get_secret_value(), self.ca)


class Gateway(Section):
    """Where the IB Gateway is, the one client id that may trade, and the one that only looks on.

    `simulated` says that it is our own gateway, which may listen on any port.
    """

    host: str
    port: int = Field(ge=0, lt=65_536)
    client_id: int = Field(gt=0)
    drop_copy_client_id: int = Field(gt=0)
    simulated: bool = False


class Listener(Section):
    """Where a process listens; port 0 takes a free one, and a port that is taken is replaced by a free one."""

    host: str
    port: int = Field(ge=0, lt=65_536)


class Web(Listener):
    """The page. It has no login: off loopback it only shows, unless `commands` says that who reaches it may command.

    `origin` is where browsers see it behind a proxy, such as https://desk.example: commands come from there alone.
    """

    commands: bool = False
    origin: str = Field("", pattern=r"^(https?://[a-z0-9.-]+(:[0-9]+)?)?$")


class Reach(BaseSettings):
    """What an operator's command needs to reach the desk: a kill must not fail on a setting of something else."""

    model_config = SettingsConfigDict(
        env_prefix="FLOWGATE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="ignore",
        nested_model_default_partial_update=True,
    )

    data: Path
    kafka: Kafka
    gateway: Gateway

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        profile = YamlConfigSettingsSource(settings_cls, PROFILES / f"{profile_name()}.yaml")
        return env_settings, file_secret_settings, profile


class Settings(Reach):
    """All settings of a process."""

    model_config = SettingsConfigDict(extra="forbid")

    profile: Literal["dev", "paper", "prod"]
    prefix: str
    instance: str
    transport: Literal["batched", "single"]
    store: Literal["memory", "rocksdb"] = "memory"
    web: Web
    health: Listener
    desk: Desk

    @model_validator(mode="after")
    def _gates_by_account(self) -> Self:
        """Settings may leave gates out for the simulated gateway only. None is not set, and denies everything."""
        required, gateway = self.desk.limits.gates_required, self.gateway
        last, account = (PAPER_GATE, "a paper") if gateway.port in PAPER_PORTS else (LIVE_GATE, "a live")
        if required is not None and not gateway.simulated and not set(required) >= set(range(1, last + 1)):
            name = "FLOWGATE_DESK__LIMITS__GATES_REQUIRED"
            raise ValueError(f"setting {name}={list(required)}: {account} account requires the gates 1 to {last}")
        return self

    @property
    def configuration_hash(self) -> str:
        """SHA-256 of everything that decides trades."""
        text = json.dumps(self.desk.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


Kind = TypeVar("Kind", bound=Reach)


def profile_name() -> str:
    """The profile in force: `FLOWGATE_PROFILE`, dev when unset."""
    name = os.environ.get("FLOWGATE_PROFILE", "dev")
    if not (PROFILES / f"{name}.yaml").exists():
        names = ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml")))
        raise SettingsError(f"FLOWGATE_PROFILE={name} is no profile; choose one of {names}")
    return name


def load() -> Settings:
    """Settings of this process; SettingsError with one sentence per wrong one."""
    return _load(Settings)


def reach() -> Reach:
    """What it takes to reach the desk; SettingsError with one sentence per wrong one of these."""
    return _load(Reach)


def strategies() -> tuple[str, ...] | None:
    """The strategies that may trade, None when something is wrong with the settings."""
    try:
        return load().desk.limits.strategies
    except SettingsError:
        return None


def _load(kind: type[Kind]) -> Kind:
    try:
        return kind(_secrets_dir=str(SECRETS) if SECRETS.exists() else None)
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(detail) for detail in error.errors())) from error


def agent_group(settings: Settings) -> str:
    """The group this process runs: `AGENT_GROUP`; all of them when unset, in the dev profile only."""
    group = os.environ.get("AGENT_GROUP", "")
    if group in GROUPS or (group in ("", "all") and settings.profile == "dev"):
        return group or "all"
    names = ", ".join(GROUPS)
    if not group:
        raise SettingsError(f"AGENT_GROUP is not set; set it to one of {names}")
    raise SettingsError(f"AGENT_GROUP={group} is no agent group; set it to one of {names}")


def _sentence(detail: Any) -> str:
    if not detail["loc"]:
        return str(detail["ctx"]["error"])  # of more than one setting; it names them
    path = "__".join(str(part) for part in detail["loc"]).upper()
    return f"setting FLOWGATE_{path}: {detail['msg']}"
