"""``config.aws``: credentials and region for Amazon's services."""

from __future__ import annotations

from pydantic import model_validator

from tasuki.fields.types import Config, Kind, Secret, Text, VariableName, at_field


class AwsConfig(Config):
    """Region and keys of an account; missing fields are looked up as AWS's own tools do.

    They read the environment (AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and so on), files in ~/.aws, the machine's role.
    """

    region: Text | None = None
    """Region, such as eu-central-1."""
    access_key_id: Secret | None = None
    """Id of the key."""
    secret_access_key: Secret | None = None
    """The key; ${env:NAME} keeps it out of the file."""
    session_token: Secret | None = None
    """Goes with a temporary key."""
    profile: Text | None = None
    """Which profile of ~/.aws to use."""
    region_env: VariableName = None
    """Variable that holds the region: the older way to write region: ${env:NAME}."""
    access_key_id_env: VariableName = None
    """Variable that holds the key's id, likewise."""
    secret_access_key_env: VariableName = None
    """Variable that holds the key, likewise."""

    @model_validator(mode="after")
    def _a_key_has_an_id(self) -> AwsConfig:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            problem = "access_key_id and secret_access_key belong together: give both, or neither"
            raise at_field("access_key_id" if self.access_key_id else "secret_access_key", problem)
        if self.session_token is not None and self.access_key_id is None:
            raise at_field("session_token", "session_token needs access_key_id and secret_access_key")
        return self


KINDS = (Kind("config.aws", AwsConfig),)
