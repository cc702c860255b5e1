//! Answers as servers give them, wrong ones, and any bytes.

use proptest::prelude::*;

use super::*;

const ID: u16 = 0x1234;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// An answer to a question for the IPv4 addresses of `www.a.test`.
struct Script(Vec<u8>);

impl Script {
    fn new(flags: u16, records: u16) -> Self {
        let mut bytes = query(ID, &name("www.a.test"), Kind::V4);
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        bytes[6..8].copy_from_slice(&records.to_be_bytes());
        Self(bytes)
    }

    fn good(records: u16) -> Self {
        Self::new(0x8180, records)
    }

    /// A record of the name at `owner`, an offset.
    fn record(mut self, owner: u16, number: u16, data: &[u8]) -> Self {
        self.0.extend((0xc000 | owner).to_be_bytes());
        self.0.extend(number.to_be_bytes());
        self.0.extend([0, 1, 0, 0, 0, 60]);
        self.0.extend((data.len() as u16).to_be_bytes());
        self.0.extend(data);
        self
    }

    fn read(&self) -> Result<Answer, AnswerError> {
        answer(&self.0, ID, &name("www.a.test"), Kind::V4)
    }
}

#[test]
fn the_question_is_as_the_rfc_has_it() {
    let bytes = query(0x0a0b, &name("a.test"), Kind::V6);
    let expected = b"\x0a\x0b\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x1c\0\x01";
    assert_eq!(bytes, expected);
}

#[test]
fn addresses_are_found() {
    let reply = Script::good(3)
        .record(12, 1, &[192, 0, 2, 1])
        .record(12, 16, b"\x03txt") // something else in between
        .record(12, 1, &[192, 0, 2, 2]);
    let found = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
    assert_eq!(reply.read(), Ok(Answer::Addresses(found.to_vec())));
    assert_eq!(Script::good(0).read(), Ok(Answer::Nothing));
    // Somebody else's address is nobody's answer.
    let other = Script::good(1).record(16, 1, &[192, 0, 2, 1]);
    assert_eq!(other.read(), Ok(Answer::Nothing));
}

#[test]
fn aliases_are_followed_as_far_as_the_answer_goes() {
    // 12: www.a.test, 16: a.test. The first alias's data begins at 28 + 12 = 40.
    let alias = Script::good(1).record(12, 5, b"\x01b\xc0\x10");
    assert_eq!(alias.read(), Ok(Answer::Alias(name("b.a.test"))));
    let whole = Script::good(2).record(12, 5, b"\x01b\xc0\x10").record(40, 1, &[192, 0, 2, 9]);
    assert_eq!(whole.read(), Ok(Answer::Addresses(vec!["192.0.2.9".parse().unwrap()])));
    let round = Script::good(2).record(12, 5, b"\x01b\xc0\x10").record(40, 5, b"\xc0\x0c");
    assert_eq!(round.read(), Ok(Answer::Nothing));
}

#[test]
fn what_the_server_could_not_say_is_told() {
    assert_eq!(Script::new(0x8183, 0).read(), Ok(Answer::Nothing));
    assert_eq!(Script::new(0x8182, 0).read(), Ok(Answer::Failed(2)));
    assert_eq!(Script::new(0x8185, 0).read(), Ok(Answer::Failed(5)));
    assert_eq!(Script::new(0x8380, 0).read(), Ok(Answer::Truncated));
}

#[test]
fn an_answer_to_something_else_is_none() {
    let good = Script::good(1).record(12, 1, &[192, 0, 2, 1]);
    let unrelated = Err(AnswerError::Unrelated);
    assert_eq!(answer(&good.0, ID + 1, &name("www.a.test"), Kind::V4), unrelated);
    assert_eq!(answer(&good.0, ID, &name("www.b.test"), Kind::V4), unrelated);
    assert_eq!(answer(&good.0, ID, &name("www.a.test"), Kind::V6), unrelated);
    let own = query(ID, &name("www.a.test"), Kind::V4);
    assert_eq!(answer(&own, ID, &name("www.a.test"), Kind::V4), unrelated, "the question itself");
    // A server may write the name in letters of its own.
    let mut loud = Script::good(1).record(12, 1, &[192, 0, 2, 1]);
    loud.0[13..16].make_ascii_uppercase();
    assert!(matches!(loud.read(), Ok(Answer::Addresses(_))));
}

#[test]
fn names_that_go_round_end() {
    for pointer in [[0xc0, 28], [0xc0, 29], [0xff, 0xff]] {
        let mut reply = Script::good(1);
        reply.0.extend(pointer);
        reply.0.extend([0; 20]);
        assert_eq!(reply.read(), Err(AnswerError::Malformed), "{pointer:?}");
    }
}

#[test]
fn every_cut_is_told() {
    let whole = Script::good(2).record(12, 5, b"\x01b\xc0\x10").record(40, 1, &[192, 0, 2, 9]).0;
    for length in 0..whole.len() {
        let cut = answer(&whole[..length], ID, &name("www.a.test"), Kind::V4);
        assert_eq!(cut, Err(AnswerError::Malformed), "{length} bytes");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..300), count in 0u16..9) {
        let mut reply = Script::good(count);
        reply.0.extend(tail);
        if let Ok(Answer::Addresses(found)) = reply.read() {
            prop_assert!(!found.is_empty() && found.iter().all(IpAddr::is_ipv4));
        }
    }

    #[test]
    fn what_is_asked_is_read(labels in "[a-z0-9-]{1,20}(\\.[a-z0-9-]{1,20}){0,5}", id: u16, v6: bool) {
        let (name, kind) = (name(&labels), if v6 { Kind::V6 } else { Kind::V4 });
        let mut reply = query(id, &name, kind);
        reply[2] |= 0x80;
        prop_assert_eq!(answer(&reply, id, &name, kind), Ok(Answer::Nothing));
    }
}
