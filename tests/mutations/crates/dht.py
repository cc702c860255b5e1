"""What is broken in the crate `dht`."""

from mutation import Mutation

MUTATIONS = [
    # What the DHT keeps comes from the address that it names.
    Mutation(
        "dht/any-token",
        "crates/dht/src/answering.rs",
        "if self.tokens.is_good(from.ip(), token) {",
        "if self.tokens.is_good(from.ip(), token) || !token.is_empty() {",
        "peerless-dht",
        "answers::only_the_address_that_got_a_token_may_use_it_and_not_for_ever",
        ("--test", "node"),
    ),
]
