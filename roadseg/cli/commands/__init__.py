"""One module for each command: its options, which become a config, and one call that does the work."""
