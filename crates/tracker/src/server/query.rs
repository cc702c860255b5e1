//! What clients write after the `?` of an announce or scrape (BEP 3, 23, 48).

use metainfo::InfoHash;

/// Peers in an answer to a client that does not say how many; BEP 3's customary number.
const NUMWANT_DEFAULT: usize = 50;

/// One announce, as far as a small tracker cares.
pub(super) struct Announce {
    pub(super) info_hash: InfoHash,
    pub(super) peer_id: [u8; 20],
    pub(super) port: u16,
    pub(super) complete: bool,
    pub(super) completed: bool,
    pub(super) stopped: bool,
    pub(super) numwant: usize,
    pub(super) compact: bool,
    pub(super) no_peer_id: bool,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    #[error("`{key}` is missing or not 20 percent-encoded bytes")]
    TwentyBytes { key: &'static str },
    #[error("`port` is missing or not 1 to 65535")]
    Port,
}

/// Reads the query of `/announce`. Of a parameter given twice the first counts.
pub(super) fn announce(query: &str) -> Result<Announce, QueryError> {
    let value = |key: &str| parameters(query).find(|(k, _)| *k == key).map(|(_, value)| value);
    let is = |key: &str, text: &str| value(key) == Some(text);
    let complete = is("left", "0");
    Ok(Announce {
        info_hash: InfoHash(twenty_bytes("info_hash", value("info_hash"))?),
        peer_id: twenty_bytes("peer_id", value("peer_id"))?,
        port: value("port")
            .and_then(|port| port.parse().ok())
            .filter(|port| *port != 0)
            .ok_or(QueryError::Port)?,
        complete,
        completed: is("event", "completed") && complete,
        stopped: is("event", "stopped"),
        // A negative number means "as you like", in HTTP as in BEP 15.
        numwant: value("numwant").and_then(|n| n.parse().ok()).unwrap_or(NUMWANT_DEFAULT),
        compact: !is("compact", "0"),
        no_peer_id: is("no_peer_id", "1"),
    })
}

/// Reads the query of `/scrape`: every `info_hash`, at least one. A full scrape is not offered.
pub(super) fn scrape(query: &str) -> Result<Vec<InfoHash>, QueryError> {
    let hashes: Result<Vec<InfoHash>, QueryError> = parameters(query)
        .filter(|(key, _)| *key == "info_hash")
        .map(|(_, value)| twenty_bytes("info_hash", Some(value)).map(InfoHash))
        .collect();
    let missing = QueryError::TwentyBytes { key: "info_hash" };
    hashes.and_then(|hashes| if hashes.is_empty() { Err(missing) } else { Ok(hashes) })
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Percent-decoded `value`. A `+` stays one: these are bytes, not a form.
fn twenty_bytes(key: &'static str, value: Option<&str>) -> Result<[u8; 20], QueryError> {
    let wrong = QueryError::TwentyBytes { key };
    let mut input = value.ok_or(wrong)?.bytes();
    let mut bytes = [0; 20];
    for to in &mut bytes {
        *to = match input.next().ok_or(wrong)? {
            b'%' => {
                let mut digit = || char::from(input.next()?).to_digit(16);
                let (high, low) = (digit().ok_or(wrong)?, digit().ok_or(wrong)?);
                (high << 4 | low) as u8
            }
            byte => byte,
        };
    }
    if input.next().is_some() { Err(wrong) } else { Ok(bytes) }
}
