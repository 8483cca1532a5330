"""The places Asterisk keeps CEL: SQLite, PostgreSQL, MySQL/MariaDB."""
