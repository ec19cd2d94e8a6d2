"""The sections of the report: each module makes HTML of plain data."""
