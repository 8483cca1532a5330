"""celreplay: brings every call of an Asterisk PBX into the CRM, once, even after downtime."""

__version__ = "0.1.0"
