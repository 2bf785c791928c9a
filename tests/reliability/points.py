"""The effects of an invocation on the outside, counted; at the chosen one something happens."""


class Points:
    """Calls `action` at the effect number `at`, unless that is one of `spared`."""

    def __init__(self, at, action, spared=()):
        self.at = at
        self.action = action
        self.spared = spared
        self.names = []

    def reach(self, name):
        self.names.append(name)
        if len(self.names) == self.at and name not in self.spared:
            self.action()

    def around(self, name, effect):
        def counted(*args, **kwargs):
            self.reach(f"before {name}")
            answer = effect(*args, **kwargs)
            self.reach(f"after {name}")
            return answer

        return counted

    def around_store(self, store):
        """Let every write of `store` be such an effect."""
        for method in ("insert", "replace"):
            setattr(store, method, self.around(f"store.{method}", getattr(store, method)))
        return store
