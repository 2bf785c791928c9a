"""What happens to the messages of one event.

    items ─▶ intake ─▶ batch ─▶ processor ─▶ report
              │                  │  ledger      reads and writes records through the store
              │                  │  creation    makes the experiment once; reconcile finds an earlier one
              │                  │  pace        spaces the creates while the service throttles
              │                  │  outcome     composes the event, publishes it
              envelope           └▶ sendback    sends back what must be retried, keeps what is given up

`lifecycle` contains the decisions, as pure functions: what a delivery does, and what a record becomes. The other
modules do the input and output for it.

A key is in doubt while a create of an earlier owner may still take effect. The rules for that, in the order in which
a delivery meets them:

    lifecycle   how long a create may act (`doubt_after_send`), and the doubt that a new owner inherits (`doubt_left`,
                `doubt_without_record`)
    ledger      hands it to the new owner, in `Opening.doubt_until`
    creation    `adopt` searches, and no create is sent before the doubt is over
    reconcile   what a search proves, and which risk remains
    processor   gives up no message while its key is in doubt (`_is_given_up`)
    lifecycle   `release` keeps the doubt for the next owner; a key that is `uncertain` is never free of it
"""
