//! Message stream encryption, either side against any bytes. The keys are always the same, so the
//! seeds (`seeds.py`) get to the end of the handshake. However the bytes are cut, the outcome is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metainfo::InfoHash;
use wire::mse::{Initiator, Method, Methods, MseError, Responder, torrent_mark};

const TORRENT: InfoHash = InfoHash([0xaa; 20]);
/// All the randomness there is; `seeds.py` has it too.
const RANDOM: u8 = 7;

/// How it ended: bytes taken, how the payload goes, what was sent within.
type End = Result<(usize, Option<(Method, Vec<u8>)>), MseError>;

fn run(role: u8, bytes: &[u8], cut: usize) -> End {
    let methods = [Methods::BOTH, Methods::PLAINTEXT, Methods::RC4][usize::from(role >> 1) % 3];
    let mut initiator = Initiator::new(TORRENT, methods, [0x42; 68], || RANDOM);
    let mut responder = Responder::new(methods, || RANDOM);
    let find = |mark: &[u8; 20]| (*mark == torrent_mark(&TORRENT)).then_some(TORRENT);
    let mut taken = 0;
    let mut sent = 0;
    for part in bytes.chunks(cut) {
        let need = if role & 1 == 0 { initiator.need() } else { responder.need() };
        if need == 0 {
            break;
        }
        let part_taken =
            if role & 1 == 0 { initiator.receive(part)? } else { responder.receive(part, find)? };
        assert!(part_taken >= need.min(part.len()), "what is needed is taken");
        sent += initiator.take_output().len() + responder.take_output().len();
        assert!(sent < 4096);
        taken += part_taken;
    }
    let agreed = if role & 1 == 0 { initiator.finish() } else { responder.finish() };
    Ok((taken, agreed.map(|agreed| (agreed.method(), agreed.initial))))
}

fuzz_target!(|input: &[u8]| {
    let [role, cut, bytes @ ..] = input else { return };
    let whole = run(*role, bytes, usize::MAX);
    let parts = run(*role, bytes, usize::from(*cut) + 1);
    assert_eq!(whole, parts);
    if let Ok((taken, end)) = whole {
        assert!(end.is_some() || taken == bytes.len());
    }
});
