"""Signed `requests` clients of the cloud services.

    paiautoml, smq      the clients; experiments, smq_messages are what they return; smq.Queue is for producers
    listing             a listing read whole, or not at all
    caller              sign, send, read, repeat
    retry, classify     when a call may be repeated, and which error an answer is
    smq_protocol        how any operation of SMQ is called
    transport           one exchange, and the single place that tells *not sent* from *unknown*
    connections         the pool underneath, which knows whether a byte has left
    signing, credentials, endpoint, answers, safexml

Nothing is imported here, so that a function pays only for the clients it uses.
"""
