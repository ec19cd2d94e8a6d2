"""The Typer application: one small file per command."""
