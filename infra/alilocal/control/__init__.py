"""The control API below `/_alilocal/` and the console at `/_console`, both on the port of the cloud.

    Control (checks who asks) ─┬─> Api      JSON in, JSON out
                               │    └─ Pages -> compose_message, History, DeadLetters -> rendering
                               └─> static/  the console: one page, whose scripts know nothing but the API

    static/console.js (reads the document, acts) -> pages.js (what a document looks like) -> charts.js, dom.js

`Pages` composes one document for each page of the console. No part knows a service by name: services return cards,
tables and listings (`alilocal.core.view`). Queues are the exception, because messages are sent, shown and delivered
again from here.
"""
