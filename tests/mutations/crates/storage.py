"""What is broken in the crate `storage`."""

from mutation import Mutation

MUTATIONS = [
    # A piece is taken only if its hash is right.
    Mutation(
        "piece-hash/not-looked-at",
        "crates/storage/src/pools/piece.rs",
        "if job.verified || verdict == Verdict::Good {",
        "if job.verified || verdicts.get(index).is_some() {",
        "peerless-storage",
        "pools::tests::a_bad_piece_never_reaches_the_disk",
    ),
    Mutation(
        "piece-hash/not-compared",
        "crates/storage/src/pools/piece.rs",
        "info.has_v1().then(|| info.piece_hash(job.piece) == Some(got))",
        "info.has_v1().then(|| info.piece_hash(job.piece).is_some() && got != [0; 20])",
        "peerless-storage",
        "pools::tests::many_pieces_at_once_each_get_their_own_verdict",
    ),
    Mutation(
        "piece-hash/unknown-is-good",
        "crates/storage/src/pools/piece.rs",
        "let unverified = !job.verified && job.store.info().has_v1();",
        "let unverified = job.verified && job.store.info().has_v1();",
        "peerless-storage",
        "pools::tests::a_good_piece_is_written_and_its_blocks_come_back",
    ),
    Mutation(
        "piece-hash/check-believes",
        "crates/storage/src/check/verdicts.rs",
        "let hash = v1.get(number).map(|hash| info.piece_hash(piece) == Some(*hash));",
        "let hash = v1.get(number).map(|hash| info.piece_hash(piece).is_some() && *hash != [0; 20]);",
        "peerless-storage",
        "check::tests::one_flipped_byte_names_the_piece_and_the_file",
    ),
    Mutation(
        "piece-hash/bad-is-told-as-written",
        "crates/storage/src/pools/piece.rs",
        "survive(move || done(PieceOutcome::HashMismatch { digests }));",
        "survive(move || done(PieceOutcome::Written { digests: Some(digests) }));",
        "peerless-engine",
        "hostile_peers::corrupt_blocks_are_found_and_their_sender_is_banned",
        ("--test", "session"),
    ),
    # A block of a v2 torrent is kept only if it fits its leaf, and its sender pays for it.
    Mutation(
        "leaf/not-compared",
        "crates/storage/src/pools/proof.rs",
        "block.is_good = hash == block.leaf &&",
        "block.is_good = hash != [0; 32] &&",
        "peerless-storage",
        "pools::proof::tests::each_block_gets_its_own_verdict",
    ),
    Mutation(
        "leaf/padding-is-believed",
        "crates/storage/src/pools/proof.rs",
        "block.parts().1.iter().all(|byte| *byte == 0)",
        "block.parts().1.iter().all(|_| true)",
        "peerless-storage",
        "pools::proof::tests::padding_behind_a_leaf_must_be_zeros",
    ),
    Mutation(
        "tree/not-compared",
        "crates/storage/src/pools/piece.rs",
        "Some(tree.is_over(&leaves) &&",
        "Some(!leaves.is_empty() &&",
        "peerless-storage",
        "pools::proof::tests::a_piece_is_written_only_if_it_fits_its_tree",
    ),
    # No name leads out of the folder.
    Mutation(
        "beneath/kernel-follows-links",
        "crates/storage/src/beneath.rs",
        "ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;",
        "ResolveFlags::empty();",
        "peerless-storage",
        "beneath::tests::links_are_refused_on_every_component",
    ),
    Mutation(
        "beneath/last-component-follows",
        "crates/storage/src/beneath.rs",
        "fs::openat(folder, name, flags | FILE | OFlags::NOFOLLOW, mode)",
        "fs::openat(folder, name, flags | FILE, mode)",
        "peerless-storage",
        "beneath::tests::links_are_refused_on_every_component",
    ),
    Mutation(
        "beneath/folder-follows",
        "crates/storage/src/beneath.rs",
        "            folder = Some(fs::openat(at, name, PLACE | OFlags::NOFOLLOW, Mode::empty())?);\n"
        "        }\n        name =",
        "            folder = Some(fs::openat(at, name, PLACE, Mode::empty())?);\n"
        "        }\n        name =",
        "peerless-storage",
        "beneath::tests::links_are_refused_on_every_component",
    ),
    Mutation(
        "beneath/making-follows",
        "crates/storage/src/beneath.rs",
        "        folder = Some(fs::openat(at, name, PLACE | OFlags::NOFOLLOW, Mode::empty())?);\n"
        "    }\n    Ok(first_new)",
        "        folder = Some(fs::openat(at, name, PLACE, Mode::empty())?);\n"
        "    }\n    Ok(first_new)",
        "peerless-storage",
        "beneath::tests::links_are_refused_on_every_component",
    ),
    Mutation(
        "beneath/looking-follows",
        "crates/storage/src/beneath.rs",
        "fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)",
        "fs::statat(folder, name, AtFlags::empty())",
        "peerless-storage",
        "beneath::tests::a_look_at_a_link_sees_the_link",
    ),
    # Data first, then what is said of it.
    Mutation(
        "order/told-and-not-written",
        "crates/storage/src/pools/piece.rs",
        "    let together = guarded(|| store.write(&pieces));\n",
        "    let together = Ok(());\n",
        "peerless-storage",
        "pools::tests::a_good_piece_is_written_and_its_blocks_come_back",
    ),
    Mutation(
        "order/durable-without-written",
        "crates/storage/src/record.rs",
        "for piece in pieces.iter().filter(|piece| self.written.has(*piece)) {",
        "for piece in pieces.iter() {",
        "peerless-storage",
        "writer::tests::what_was_lost_during_a_sync_is_not_durable_after_it",
    ),
    Mutation(
        "order/durable-not-through",
        "crates/storage/src/writer/handle.rs",
        "    pub fn durable(&self, pieces: &Bitfield) {\n        self.change(true,",
        "    pub fn durable(&self, pieces: &Bitfield) {\n        self.change(false,",
        "peerless-storage",
        "writer::tests::durable_is_saved_through_and_written_is_not",
    ),
    Mutation(
        "order/through-is-lazy",
        "crates/storage/src/sqlite.rs",
        'if through { "FULL" } else { "NORMAL" }',
        'if through { "NORMAL" } else { "NORMAL" }',
        "peerless-storage",
        "sqlite::tests::what_claims_durability_is_committed_to_the_disk",
    ),
    Mutation(
        "order/power-cut-believes-written",
        "crates/storage/src/resume.rs",
        "if progress.clean || same_boot(record, boot_id) {",
        "if progress.clean || same_boot(record, boot_id) || true {",
        "peerless-storage",
        "resume::tests::how_the_last_run_ended",
    ),
    Mutation(
        "order/empty-mount-point-is-filled",
        "crates/storage/src/store/open.rs",
        "if *self.root_identity.get_or_init(|| identity) == identity {",
        "if *self.root_identity.get_or_init(|| identity) == identity || true {",
        "peerless-storage",
        "store::tests::volume::another_folder_in_the_place_of_the_root_is_not_filled",
    ),
    # What is hashed for a new torrent is what is there.
    Mutation(
        "v2/changes-while-hashed",
        "crates/storage/src/hash_tree.rs",
        "            if !file.is_unchanged(&found) {",
        "            if !file.is_unchanged(&found) && false {",
        "peerless-storage",
        "hash_tree::tests::what_changes_while_it_is_hashed_is_an_error",
    ),
    # A file of another torrent is taken for what it is.
    Mutation(
        "reuse/a-record-is-believed",
        "crates/storage/src/reuse.rs",
        "return Ok(layer.is_some());",
        "return Ok(layer.is_some() || info.has_v2());",
        "peerless-storage",
        "reuse::tests::a_v2_file_is_found_by_its_root_and_brings_its_layer",
    ),
    # What was moved counts over all runs.
    Mutation(
        "totals/less-than-there-was",
        "crates/storage/src/sqlite.rs",
        "uploaded = max(uploaded, ?3)",
        "uploaded = ?3",
        "peerless-storage",
        "sqlite::tests::what_was_moved_and_for_how_long_never_gets_less_and_leaves_the_rest_alone",
    ),
    # A file that is not wanted never appears.
    Mutation(
        "unwanted/written-under-its-name",
        "crates/storage/src/store/parts.rs",
        "let places = if self.is_apart(segment.file) {",
        "let places = if self.is_apart(segment.file) && segment.length == 0 {",
        "peerless-storage",
        "store::tests::parts::only_wanted_files_appear_and_every_piece_can_be_read",
    ),
]
