"""EventBridge, API version 2020-04-01: event buses, rules that pass events on, and both ways to put events."""
