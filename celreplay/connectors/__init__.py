"""One file per CRM."""
