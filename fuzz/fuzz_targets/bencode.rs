//! Bencode: nothing panics, a prefix is what it says, and canonical input is what encoding gives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metainfo::bencode::{self, Encoder, Kind, Limits, Node};

fn encode(node: Node<'_, '_>, out: &mut Encoder) {
    match node.kind() {
        Kind::Int => out.int(node.as_int().expect("an integer")),
        Kind::Bytes => out.bytes(node.as_bytes().expect("a string")),
        Kind::List => {
            out.begin_list();
            for value in node.list().expect("a list") {
                encode(value, out);
            }
            out.end()
        }
        Kind::Dict => {
            let mut pairs: Vec<_> = node.dict().expect("a dictionary").collect();
            pairs.sort_by_key(|(key, _)| *key);
            out.begin_dict();
            for (key, value) in pairs {
                assert!(node.get(key).is_some_and(|found| found.raw() == value.raw()));
                encode(value, out.key(key));
            }
            out.end()
        }
    };
}

fuzz_target!(|input: &[u8]| {
    let small = Limits { depth: 4, tokens: 16, bytes: 64 };
    let _ = bencode::parse(input, small);
    let Ok((tape, used)) = bencode::parse_prefix(input, Limits::network()) else {
        assert!(bencode::parse(input, Limits::network()).is_err());
        return;
    };
    let (value, rest) = input.split_at(used);
    assert_eq!(tape.root().raw(), value);
    assert_eq!(bencode::parse(input, Limits::network()).is_ok(), rest.is_empty());
    let mut out = Encoder::new();
    encode(tape.root(), &mut out);
    assert_eq!(tape.is_canonical(), out.finish() == value);
});
