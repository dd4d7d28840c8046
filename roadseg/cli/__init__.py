"""The command line. The only room that knows typer and rich."""
