"""One module a client, all behind the interface of `base.Client`."""
