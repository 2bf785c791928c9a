"""A configuration of Powertools' idempotency for an invocation with a given remaining time."""

from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig


class RemainingTime:
    """Lambda's context, of which the idempotency utility reads only the remaining time."""

    def __init__(self, millis):
        self.millis = millis

    def get_remaining_time_in_millis(self):
        return self.millis


def config(millis=60_000, **options):
    """Return a configuration with `options` whose invocation has `millis` left."""
    made = IdempotencyConfig(**options)
    made.register_lambda_context(RemainingTime(millis))
    return made
