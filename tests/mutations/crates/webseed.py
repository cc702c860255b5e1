"""What is broken in the crate `webseed`."""

from mutation import Mutation

MUTATIONS = [
    # The files of a v2 torrent have gaps between them.
    Mutation(
        "v2/web-seed-stops-at-gaps",
        "crates/webseed/src/parts.rs",
        "while at < end.min(geometry.end()) {",
        "while at < end.min(geometry.total_length()) {",
        "peerless-webseed",
        "the_files_behind_gaps_are_asked_for_too",
        ("--test", "torrents"),
    ),
    # A web seed's answer is what was asked for.
    Mutation(
        "web-seeds/another-range",
        "crates/webseed/src/answer.rs",
        "if range.first != first || range.last > last",
        "if range.first > first.saturating_add(1 << 20) || range.last > last.saturating_add(1 << 20)",
        "peerless-webseed",
        "answer::tests::a_range_is_the_one_that_was_asked_for_or_its_beginning",
    ),
]
