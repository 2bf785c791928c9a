"""What happens to the messages of one event.

    items ─▶ intake ─▶ batch ─▶ processor ─▶ report
              │                  │  ledger      reads and writes records through the store
              │                  │  creation    makes the experiment once; reconcile finds an earlier one
              │                  │  pace        spaces the creates while the service throttles
              │                  │  outcome     composes the event, publishes it
              envelope           └▶ sendback    sends back what must be retried, keeps what is given up

`lifecycle` contains the decisions, as pure functions: what a delivery does, and what a record becomes. The other
modules do the input and output for it.
"""
