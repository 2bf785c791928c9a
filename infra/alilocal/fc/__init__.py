"""Function Compute: event functions written in Python. Each instance is a separate process.

The service, API version 2023-03-30 and its predecessors, keeps functions as they are described:

    routes.py ──> calls.py, trigger_calls.py, ... ──> registry.py
                     │ what a call runs, as `Deployed`
                     v
    host.py          runs it: one `Function` for each version, and one source for each trigger

`function.py` holds a function and its instances, `instance.py` one instance and the pipes to its process,
`bootstrap.py` the program that runs inside the process, and `asynchronous.py` the queue of asynchronous calls:

    Function.invoke ─┐
                     ├─> Instance.ask ──pipe──> bootstrap.py ──> the function's handler
    AsyncQueue ──────┘

A function reaches the cloud over HTTP, with temporary keys of its own, as it would in the real cloud.
"""
