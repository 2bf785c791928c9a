"""What an operator sees: log lines, cleared of secrets."""
