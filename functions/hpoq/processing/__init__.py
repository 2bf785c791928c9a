"""What happens to the messages of one event.

The README of `hpoq` shows the path of a message through these modules. `lifecycle` and `watchorder` contain the
decisions, as pure functions; the other modules do the input and output for them.

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
