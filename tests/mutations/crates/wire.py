"""What is broken in the crate `wire`."""

from mutation import Mutation

MUTATIONS = [
    # A length buys no memory.
    Mutation(
        "length/prefix",
        "crates/wire/src/message.rs",
        "    if body_length > limit {",
        "    if body_length > limit && false {",
        "peerless-wire",
        "lengths_are_judged_before_bodies_arrive",
        ("--test", "stream"),
    ),
    Mutation(
        "length/kind",
        "crates/wire/src/message.rs",
        "BodyLength::AtMost(limit) if length > limit => {",
        "BodyLength::AtMost(limit) if length > limit.max(self.longest()) => {",
        "peerless-wire",
        "lengths_are_judged_before_bodies_arrive",
        ("--test", "stream"),
    ),
    Mutation(
        "length/exact",
        "crates/wire/src/message.rs",
        "BodyLength::Exactly(right) if length != right => {",
        "BodyLength::Exactly(right) if length < right => {",
        "peerless-wire",
        "lengths_are_judged_before_bodies_arrive",
        ("--test", "stream"),
    ),
]
