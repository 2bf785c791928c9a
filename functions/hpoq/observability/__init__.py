"""Log lines, numbers and traces, none of which contains a secret.

    processing, cloud ──▶ measures    counters, durations and spans of the current invocation
                             │
                         telemetry    reports them when the invocation ends: one log line, and ──▶ otel
    everything ──▶ logs ──▶ redaction removes secrets from each line before it is written

`redaction` holds the only list of secret names and the only mask. Whatever shows a request uses it: log lines,
events, error messages, the command line and the console.
"""
