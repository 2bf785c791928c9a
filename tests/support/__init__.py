"""What tests of several folders share.

- `request`: the minimal request, and requests made from it.
- `deployment`: the queues and the topic of a deployment, the function's environment, and the function itself.
- `clock`: clocks for what `hpoq.testing.FakeClock` cannot do.
- `world`: a deployment over an embedded cloud, on one clock that the test moves.
- `trials`: experiments whose trials run on this machine.
- `ports`: ports that no other process takes.
- `building`: the code package, built once for all workers (`once`).
- `budget`: how much the long tests try.
- `waiting`: waiting for what another thread or process does.
- `tools`: tools that may be missing, and how to install them.
"""
