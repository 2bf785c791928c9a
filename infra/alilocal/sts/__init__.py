"""STS, API version 2015-04-01: temporary keys for roles, and who one is."""
