"""The command line: parses, shows events and results, turns errors into exit codes."""
