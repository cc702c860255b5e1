"""What is broken in the crate `tracker`."""

from mutation import Mutation

MUTATIONS = [
    # Only the tracker answers for the tracker.
    Mutation(
        "tracker/transaction",
        "crates/tracker/src/udp.rs",
        "if reader.u32()? != pending.transaction {",
        "if reader.u32()? == pending.transaction.wrapping_add(0x8000_0001) {",
        "peerless-tracker",
        "udp::tests::wrong_transaction_or_action_is_ignored",
    ),
    Mutation(
        "tracker/action",
        "crates/tracker/src/udp.rs",
        "ACTION_CONNECT if pending.action == ACTION_CONNECT => {",
        "ACTION_CONNECT => {",
        "peerless-tracker",
        "udp::tests::wrong_transaction_or_action_is_ignored",
    ),
    Mutation(
        "tracker/guessable",
        "crates/tracker/src/udp.rs",
        "_ => self.rng.u32(..),",
        "_ => self.sent,",
        "peerless-tracker",
        "udp::tests::transaction_ids_differ_between_seeds_and_requests",
    ),
]
