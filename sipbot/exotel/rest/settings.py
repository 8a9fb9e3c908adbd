"""Where the keys of the account come from: a YAML file, or the environment.

The environment names ``EXOTEL_ACCOUNT_SID``, ``EXOTEL_API_KEY``, ``EXOTEL_API_TOKEN``,
``EXOTEL_REGION`` (mumbai, singapore) and ``EXOTEL_BASE_URL``. A file has the same without the
prefix, best with ``${VARIABLES}`` for the secrets; what it leaves out comes from the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, model_validator

from sipbot import yamlmarks
from sipbot.errors import ConfigError, ConfigProblem
from sipbot.exotel.rest.account import REGION_NAMES, Account, Region, check_base_url
from sipbot.ops.expand import expand

VARIABLES: Final = {
    "account_sid": "EXOTEL_ACCOUNT_SID",
    "api_key": "EXOTEL_API_KEY",
    "api_token": "EXOTEL_API_TOKEN",
    "region": "EXOTEL_REGION",
    "base_url": "EXOTEL_BASE_URL",
}
REQUIRED: Final = ("account_sid", "api_key", "api_token")
ENVIRONMENT: Final = "environment"  # stands for the file in problems
M = TypeVar("M", bound=BaseModel)


class Section(BaseModel):
    """Part of a file: unknown keys are mistakes, an empty section means its defaults."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, coerce_numbers_to_str=True
    )
    empty_means_defaults: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, data: Any) -> Any:
        return {} if data is None and cls.empty_means_defaults else data


class AccountSection(Section):
    """Keys of the account. What is left out comes from the environment."""

    account_sid: str | None = None
    """`EXOTEL_ACCOUNT_SID` by default."""
    api_key: SecretStr | None = None
    """`EXOTEL_API_KEY` by default."""
    api_token: SecretStr | None = None
    """`EXOTEL_API_TOKEN` by default."""
    region: Literal["mumbai", "singapore", "india", "in", "sg"] | None = None
    """`EXOTEL_REGION` by default, else mumbai."""
    base_url: Annotated[str, AfterValidator(check_base_url)] | None = None
    """Instead of the hosts of the region."""


def read_file(path: Path, environment: Mapping[str, str]) -> yamlmarks.Document:
    """A YAML file with its variables replaced. Raises ``ConfigError``."""
    document = yamlmarks.load(path)
    return expand(document, environment, path.resolve().parent)


def validated(model: type[M], document: yamlmarks.Document) -> M:
    """``yamlmarks.validate`` that does not quote unknown keys: a misspelt ``api_token`` is still a
    secret."""
    try:
        return yamlmarks.validate(model, document)
    except ConfigError as error:
        problems = (
            replace(one, value="***") if one.message.startswith("unknown key") else one
            for one in error.problems
        )
        raise ConfigError(tuple(problems)) from None


def account_from_file(path: Path, environment: Mapping[str, str]) -> Account:
    """Raises ``ConfigError`` with file, line, key and what is allowed."""
    section = validated(AccountSection, read_file(path, environment))
    return account(section, environment)


def account(section: AccountSection | None, environment: Mapping[str, str]) -> Account:
    """The account out of a file's section and the environment. Raises ``ConfigError``."""
    given = {} if section is None else section.model_dump(exclude_none=True)
    values = {
        name: _plain(given[name]) if name in given else environment.get(variable, "").strip()
        for name, variable in VARIABLES.items()
    }
    missing = [_problem(name, "is not set") for name in REQUIRED if not values[name]]
    if missing:
        raise ConfigError(tuple(missing))
    region = values["region"].lower()
    if region and region not in REGION_NAMES:
        known = ", ".join(sorted(one.value for one in Region))
        raise ConfigError((_problem("region", f"must be one of {known}"),))
    try:
        return Account(
            values["account_sid"],
            values["api_key"],
            values["api_token"],
            REGION_NAMES[region] if region else Region.MUMBAI,
            values["base_url"] or None,
        )
    except ValueError as error:
        raise ConfigError((ConfigProblem("account", 0, "account", "", str(error)),)) from None


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _problem(name: str, message: str) -> ConfigProblem:
    return ConfigProblem(ENVIRONMENT, 0, VARIABLES[name], "", message)
