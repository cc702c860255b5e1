"""What is broken, and who must notice."""

from dataclasses import dataclass

LIB = ("--lib",)


@dataclass(frozen=True)
class Mutation:
    name: str
    file: str
    old: str  # is in the file exactly once
    new: str
    package: str
    test: str
    target: tuple = LIB


MUTATIONS = [
    # A piece is taken only if its hash is right.
    Mutation(
        "piece-hash/not-looked-at",
        "crates/storage/src/pools/piece.rs",
        "if job.verified || good.get(index) == Some(&true) {",
        "if job.verified || good.get(index).is_some() {",
        "peerless-storage",
        "pools::tests::a_bad_piece_never_reaches_the_disk",
    ),
    Mutation(
        "piece-hash/not-compared",
        "crates/storage/src/pools/piece.rs",
        ".map(|(expected, got)| expected == Some(got))",
        ".map(|(expected, _)| expected.is_some())",
        "peerless-storage",
        "pools::tests::many_pieces_at_once_each_get_their_own_verdict",
    ),
    Mutation(
        "piece-hash/unknown-is-good",
        "crates/storage/src/pools/piece.rs",
        "let unverified = (!job.verified).then(",
        "let unverified = job.verified.then(",
        "peerless-storage",
        "pools::tests::a_good_piece_is_written_and_its_blocks_come_back",
    ),
    Mutation(
        "piece-hash/check-believes",
        "crates/storage/src/check.rs",
        "let is_good = self.store.info().piece_hash(piece) == Some(hash);",
        "let is_good = self.store.info().piece_hash(piece).is_some() && hash != [0; 20];",
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
    # No name leads out of the folder.
    Mutation(
        "safe-path/dot-dot",
        "crates/metainfo/src/path.rs",
        'if matches!(name, b"" | b"." | b"..") {',
        'if matches!(name, b"" | b".") {',
        "peerless-metainfo",
        "path::tests::climbing_stays_under_the_root",
    ),
    Mutation(
        "safe-path/empty",
        "crates/metainfo/src/path.rs",
        'if matches!(name, b"" | b"." | b"..") {',
        'if matches!(name, b"." | b"..") {',
        "peerless-metainfo",
        "path::tests::climbing_stays_under_the_root",
    ),
    Mutation(
        "safe-path/slash",
        "crates/metainfo/src/path.rs",
        r"matches!(character, '/' | '\\')",
        r"matches!(character, '\\')",
        "peerless-metainfo",
        "path::tests::climbing_stays_under_the_root",
    ),
    Mutation(
        "safe-path/backslash",
        "crates/metainfo/src/path.rs",
        r"matches!(character, '/' | '\\')",
        r"matches!(character, '/')",
        "peerless-metainfo",
        "path::tests::climbing_stays_under_the_root",
    ),
    Mutation(
        "safe-path/nul-and-tricks",
        "crates/metainfo/src/path.rs",
        "|| is_deceptive(character)",
        "|| (is_deceptive(character) && false)",
        "peerless-metainfo",
        "path::tests::climbing_stays_under_the_root",
    ),
    Mutation(
        "safe-path/windows-device",
        "crates/metainfo/src/path.rs",
        "if is_device(name) {",
        "if is_device(name) && false {",
        "peerless-metainfo",
        "path::tests::windows_names_avoid_devices_and_trailing_dots",
    ),
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
        "    let together = guarded(|| store.write(&pieces));\n    drop(pieces);",
        "    drop(pieces);\n    let together = Ok(());",
        "peerless-storage",
        "pools::tests::a_good_piece_is_written_and_its_blocks_come_back",
    ),
    Mutation(
        "order/refused-is-recorded",
        "crates/engine/src/torrent/pieces.rs",
        "            PieceOutcome::WriteFailed { error, blocks, .. } => {\n",
        "            PieceOutcome::WriteFailed { error, blocks, .. } => {\n"
        "                self.shared.record.get().unwrap().written(piece);\n",
        "peerless-engine",
        "resume::tests::a_piece_that_the_disk_refused_is_not_recorded",
    ),
    Mutation(
        "order/durable-after-the-fact",
        "crates/engine/src/resume.rs",
        "            record.durable(&written);",
        "            record.durable(&record.progress().written);",
        "peerless-engine",
        "resume::tests::what_is_written_during_a_sync_is_not_durable_after_it",
    ),
    Mutation(
        "order/clean-without-sync",
        "crates/engine/src/resume.rs",
        "    record.close(clean);",
        "    record.close(clean || true);",
        "peerless-engine",
        "resume::tests::a_torrent_that_can_not_be_synced_is_not_left_clean",
    ),
    Mutation(
        "order/never-clean",
        "crates/engine/src/resume.rs",
        "    record.close(clean);",
        "    record.close(clean && false);",
        "peerless-engine",
        "resume::tests::a_torrent_in_good_order_is_left_clean_and_durable",
    ),
    Mutation(
        "order/durable-without-written",
        "crates/storage/src/writer.rs",
        "for piece in pieces.iter().filter(|piece| progress.written.has(*piece)) {",
        "for piece in pieces.iter() {",
        "peerless-storage",
        "writer::tests::durable_is_part_of_written_and_saved_through",
    ),
    Mutation(
        "order/durable-not-through",
        "crates/storage/src/writer.rs",
        "    pub fn durable(&self, pieces: &Bitfield) {\n        self.change(true,",
        "    pub fn durable(&self, pieces: &Bitfield) {\n        self.change(false,",
        "peerless-storage",
        "writer::tests::durable_is_part_of_written_and_saved_through",
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
    # A private torrent is one, and nothing else is.
    Mutation(
        "private/never",
        "crates/metainfo/src/torrent.rs",
        "private.as_int()) == Some(1)",
        "private.as_int()) == Some(2)",
        "peerless-metainfo",
        "features::private_is_the_integer_1_in_info",
        ("--test", "suite"),
    ),
    Mutation(
        "private/whatever-it-says",
        "crates/metainfo/src/torrent.rs",
        "private.as_int()) == Some(1)",
        "private.as_int()).is_some()",
        "peerless-metainfo",
        "features::private_is_the_integer_1_in_info",
        ("--test", "suite"),
    ),
    Mutation(
        "private/not-written",
        "crates/metainfo/src/create.rs",
        'out.key(b"private").int(1);',
        "{}",
        "peerless-metainfo",
        "create::everything_said_is_read_back",
        ("--test", "suite"),
    ),
    Mutation(
        "private/in-the-dht",
        "crates/engine/src/session.rs",
        "self.dht.as_ref().filter(|_| !shared.torrent.info.is_private())",
        "self.dht.as_ref().filter(|_| !shared.is_stopping())",
        "peerless-engine",
        "dht::a_download_finds_its_seed_by_the_dht_and_a_private_one_does_not",
        ("--test", "session"),
    ),
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
    Mutation(
        "length/carried",
        "crates/engine/src/peer/receive.rs",
        "self.carry.resize(self.need.min(carried + CARRY_STEP), 0);",
        "self.carry.resize(self.need, 0);",
        "peerless-engine",
        "peer::receive::tests::a_length_alone_buys_no_memory",
    ),
    Mutation(
        "length/http-body",
        "crates/engine/src/http/body.rs",
        "if data.len() > body_max - bytes.len() {",
        "if data.len() > body_max {",
        "peerless-engine",
        "http::tests::endless_bodies_end_at_the_limit",
    ),
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
