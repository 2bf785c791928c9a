"""The generated public contract: JSON Schemas of requests and events, and the AsyncAPI document.

    hpoq.contract ──models──┐
      (models, rules) space ┼──request──▶ request.schema.json ─┐
                    beyond ─┘                                  ├─▶ asyncapi.yaml
                             events ────▶ created.schema.json and so on

`models` derives the structure from the pydantic models and adds what the rules demand, as far as JSON Schema can
express it. `members` says what each member means, for the schema and for `reference`, a page for people. `space` has
the grammar of search spaces, `beyond` the rules that JSON Schema cannot express, and `form` the dialect and the order
of keywords. `hpoq contract` writes the files to `events/contract`.
"""
