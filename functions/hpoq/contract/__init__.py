"""The public contract: what a request may say, and what the events about it say.

A message body becomes a request, or a list of everything that is wrong with it, in this order:

    bytes ──document──▶ JSON object ──request──▶ wrapped form ──model──▶ ExperimentRequest
             (jsontext)  (one of three forms)        │                        │
                                                     └──rules, lint───────────┴──▶ violations and warnings

- `document`: undoes base64, reads the JSON text and opens a CloudEvent. It knows where in the producer's document
  the request stands, so that every pointer leads to what the producer wrote.
- `jsontext`: the strict JSON reader, and JSON pointers.
- `request`: `parse_request` (the steps above) and the fingerprint.
- `model`: the pydantic models of the request message. They check the structure; `stop` has those of a stop.
- `explain`: turns what the models find into violations, with hints at what was meant. Only invalid requests need it.
- `rules`: what a model cannot express, because it concerns several members. `search_space` holds the rules of one
  search space, and `lint` those that only warn.
- `finding`: a violation or a warning, and lists of them that a hostile message cannot let grow without limit.
- `patterns`: the regular expressions, which the JSON Schemas share.
- `identity`: idempotency keys, event ids, and the marker by which an experiment carries its key.
- `events`: the output events.

The models take most of the time of an import, so the function imports `request` with its first message: no module
that a cold start loads may import `request`, `model` or `rules`. README.md lists every rule.
"""
