"""What is broken in the crate `utp`."""

from mutation import Mutation

MUTATIONS = [
    # Nobody is heard by uTP who has not proved his address, and nobody ends what is not his.
    Mutation(
        "utp/unproved-address",
        "crates/utp/src/connection.rs",
        "if !is_plausible || self.guesses >= GUESSES_MAX {",
        "if self.guesses >= GUESSES_MAX {",
        "peerless-utp",
        "opening::nothing_is_taken_from_an_address_that_is_not_proved",
        ("--test", "network"),
    ),
    Mutation(
        "utp/any-reset",
        "crates/utp/src/connection.rs",
        "if !(0..=last).contains(&ahead) ||",
        "if !(i16::MIN..=last.max(ahead)).contains(&ahead) ||",
        "peerless-utp",
        "hostile::resets_from_elsewhere_or_with_any_number_are_not_believed",
        ("--test", "network"),
    ),
    Mutation(
        "utp/half-open",
        "crates/utp/src/endpoint.rs",
        "|| of_one >= HALF_OPEN_OF_ONE_MAX",
        "|| of_one >= HALF_OPEN_MAX",
        "peerless-utp",
        "opening::half_open_connections_are_few",
        ("--test", "network"),
    ),
    Mutation(
        "utp/memory",
        "crates/utp/src/receive.rs",
        "if payload.len() > self.window().min(ahead_room) {",
        "if payload.len() > self.window().min(ahead_room.max(1 << 20)) {",
        "peerless-utp",
        "hostile::memory_for_packets_out_of_order_is_bounded",
        ("--test", "network"),
    ),
    Mutation(
        "utp/early-end",
        "crates/utp/src/receive.rs",
        "self.last == Some(self.ack)",
        "self.last.is_some()",
        "peerless-utp",
        "receive::tests::the_end_is_when_all_before_it_is_there",
    ),
]
