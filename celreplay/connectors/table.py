"""Every connector there is. A new one is a module and a line here."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from celreplay.connectors import webhook
from celreplay.connectors.base import Connector
from celreplay.connectors.options import DeliveryOptions


class ConnectorType(msgspec.Struct, frozen=True):
    """What `type:` stands for."""

    options: type[DeliveryOptions]
    """What may stand in its section of the config."""
    build: Callable[[str, str, Any], Connector]
    """name, system, options → the connector."""


CONNECTORS: Mapping[str, ConnectorType] = {
    "webhook": ConnectorType(webhook.WebhookOptions, webhook.build),
}
OPTIONS: Mapping[str, type[DeliveryOptions]] = {name: kind.options for name, kind in CONNECTORS.items()}
"""What the config loader needs."""


def build(name: str, system: str, options: DeliveryOptions) -> Connector:
    """The connector `name` of the PBX `system`, of the type that its options name."""
    return CONNECTORS[options.type].build(name, system, options)
