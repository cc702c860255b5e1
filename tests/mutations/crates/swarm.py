"""What is broken in the crate `swarm`."""

from mutation import Mutation

MUTATIONS = [
    # A block of a v2 torrent is kept only if it fits its leaf, and its sender pays for it.
    Mutation(
        "leaf/bad-is-kept",
        "crates/swarm/src/hashes.rs",
        "self.pieces.proved(block, opened, good)",
        "self.pieces.proved(block, opened, true)",
        "peerless-swarm",
        "hashes::tests::a_bad_block_names_who_sent_it_and_is_asked_of_another",
    ),
    # Nobody is given hashes without end.
    Mutation(
        "hashes/long-layers-on-the-shard",
        "crates/swarm/src/hashes/serving.rs",
        "if work.hashes() <= AT_ONCE_MAX {",
        "if work.hashes() < u64::MAX {",
        "peerless-swarm",
        "hashes::tests::serving::the_top_of_a_long_layer_is_made_elsewhere_and_all_who_ask_meanwhile_wait_for_it",
    ),
    Mutation(
        "hashes/without-end",
        "crates/swarm/src/hashes/allowance.rs",
        "let fits = owed.is_zero() || owes <= self.debt_max;",
        "let fits = owed.is_zero() || owes > Duration::ZERO;",
        "peerless-swarm",
        "hashes::tests::serving::who_asks_for_ever_costs_little_in_any_time_and_is_not_freed_by_coming_back",
    ),
    Mutation(
        "hashes/blocks-earn-none",
        "crates/swarm/src/hashes/allowance.rs",
        "*at = at.saturating_sub(Duration::from_nanos(paid));",
        "*at = at.saturating_sub(Duration::from_nanos(paid.min(1)));",
        "peerless-swarm",
        "hashes::tests::serving::a_download_is_given_the_leaves_of_all_that_it_is_sent_however_fast",
    ),
    # The files of a v2 torrent have gaps between them.
    Mutation(
        "v2/reader-stops-at-gaps",
        "crates/swarm/src/urgent.rs",
        "let end = end.min(geometry.end());",
        "let end = end.min(geometry.total_length());",
        "peerless-swarm",
        "urgent::tests::a_reader_of_a_file_behind_gaps_has_urgent_pieces",
    ),
    # Hashes of v2 torrents are believed only if they lead to what is known.
    Mutation(
        "hashes/not-proved",
        "crates/swarm/src/hashes.rs",
        "reached == top && merkle::climb(run, hashes, uncles) == Some(known)",
        "reached == top && merkle::climb(run, hashes, uncles).is_some()",
        "peerless-swarm",
        "hashes::tests::a_false_hash_ends_its_sender_and_nothing_of_it_is_kept",
    ),
    # A super-seed gives what it showed, and no more.
    Mutation(
        "super-seed/gives-what-was-not-shown",
        "crates/swarm/src/uploads.rs",
        "self.have.has(block.piece) && self.may_see(key, block.piece);",
        "self.have.has(block.piece);",
        "peerless-swarm",
        "seeding::each_is_shown_another_piece_and_the_next_when_it_was_passed_on",
        ("--test", "protocol"),
    ),
    # Data of another torrent that was found good is not fetched.
    Mutation(
        "reuse/data-that-was-there-is-fetched",
        "crates/swarm/src/hashes.rs",
        "|| hashes.piece_tree(piece).is_some() && !hashes.is_unjudged(piece);",
        "|| hashes.piece_tree(piece).is_some();",
        "peerless-engine",
        "judging::of_damaged_data_only_the_bad_is_fetched",
        ("--test", "session"),
    ),
    # Who refuses us is dialled no more often for there being uTP.
    Mutation(
        "dials/by-utp-without-end",
        "crates/swarm/src/candidates/ways.rs",
        "Fallback::Due => Fallback::Failed,",
        "Fallback::Due => Fallback::Untried,",
        "peerless-swarm",
        "candidates::ways::tests::who_refuses_us_is_dialled_no_more_often",
    ),
    # Metadata is what its hash says.
    Mutation(
        "metadata/any",
        "crates/swarm/src/metadata.rs",
        "if self.config.hashes.verify(&info) {",
        "if self.config.hashes.verify(&info) || !info.is_empty() {",
        "peerless-swarm",
        "metadata::tests::liars_are_found_out_one_by_one",
    ),
    # What led to a peer is first the next time.
    Mutation(
        "dials/what-worked-is-forgotten",
        "crates/swarm/src/candidates/ways.rs",
        "candidate.utp_won = reached.utp && won;",
        "candidate.utp_won = reached.utp && won && candidate.failures > 9;",
        "peerless-swarm",
        "candidates::ways::tests::utp_that_won_the_race_is_first_next_time_and_tcp_not_left_out",
    ),
    # A relay is to see the hole in our NAT.
    Mutation(
        "dials/relays-by-tcp",
        "crates/swarm/src/candidates/ways.rs",
        "candidate.introduces && Reach::of(addr.ip()) > self.open_to",
        "candidate.introduces && Reach::of(addr.ip()) < self.open_to",
        "peerless-swarm",
        "candidates::ways::tests::who_may_bring_us_together_with_others_is_to_see_where_our_utp_comes_from",
    ),
]
