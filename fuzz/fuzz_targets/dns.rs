//! Answers of name servers, `hosts` and `resolv.conf`: any bytes are read or refused, and aliases end.
#![no_main]

use dns::{Answer, Kind, Name, ServersFile};
use libfuzzer_sys::fuzz_target;

const ID: u16 = 7;

fuzz_target!(|input: &[u8]| {
    let name = Name::parse("a.test").unwrap();
    for kind in [Kind::V4, Kind::V6] {
        let _ = dns::answer(input, ID, &name, kind);
        // The same behind a question that it answers.
        let mut reply = dns::query(ID, &name, kind);
        let Some((head, records)) = input.split_at_checked(4) else { continue };
        reply[2..4].copy_from_slice(&head[..2]);
        reply[6..8].copy_from_slice(&head[2..]);
        reply.extend_from_slice(records);
        match dns::answer(&reply, ID, &name, kind) {
            Ok(Answer::Addresses(found)) => {
                assert!(found.iter().all(|ip| ip.is_ipv4() == (kind == Kind::V4)));
            }
            Ok(Answer::Alias(other)) => assert_ne!(other, name),
            _ => {}
        }
    }
    let text = String::from_utf8_lossy(input);
    dns::addresses_in_hosts(&text, &name);
    let file = ServersFile::parse(&text);
    assert!(file.servers.len() <= 3 && file.candidates(&name) == [name.clone()]);
    if let Ok(name) = Name::parse(&text) {
        assert_eq!(Name::parse(&name.to_string()), Ok(name));
    }
});
