//! What happens in a session, as it is told: a JSON line for each event, and for people what they can do
//! something about.

use std::collections::{HashSet, VecDeque};

use engine::{Event, EventStream, Network, Pinholes, PortMapping, Session};
use serde_json::{Value, json};

use super::gateway;
use crate::format::untrusted;
use crate::output::Output;

/// Prints a session's events as JSON lines, and storage trouble for people.
/// What the gateway and the proxy said before anybody listened is said first.
pub(crate) fn report(session: &Session, output: Output) -> impl Future<Output = ()> + use<> {
    let events = session.events(); // before what was said before
    let absent = session.network().absence().map(|message| Event::NetworkLost { message });
    let unrelayed = session.relay_trouble().map(|message| Event::RelayLost { message });
    let before = absent.into_iter().chain(unrelayed).collect();
    let mut said = Vec::new();
    let mapping = session.port_mapping();
    if !matches!(mapping, PortMapping::Off | PortMapping::Asking) {
        said.push(gateway::port_mapping(&mapping));
    }
    let holes = session.pinholes();
    if !matches!(holes, Pinholes::Off | Pinholes::Asking) {
        said.push(gateway::pinholes(&holes));
    }
    tell_all(events, session.network().clone(), said, before, output)
}

async fn tell_all(
    mut events: EventStream,
    network: Network,
    said: Vec<Value>,
    mut before: VecDeque<Event>,
    output: Output,
) {
    let mut told = HashSet::new();
    let (mut absent, mut unrelayed) = (None, None); // as it was said last
    said.iter().for_each(|said| output.value(said));
    while let Some(event) = match before.pop_front() {
        Some(event) => Some(event),
        None => events.next().await,
    } {
        match &event {
            Event::RelayLost { message } if unrelayed.as_ref() == Some(message) => continue,
            Event::NetworkLost { message } if absent.as_ref() == Some(message) => continue,
            Event::StorageError { info_hash, message }
                if told.insert((*info_hash, message.clone())) =>
            {
                output.note(format_args!("warning: {}", untrusted(message)));
            }
            Event::StorageRecovered { info_hash } => {
                told.retain(|(of, _)| of != info_hash);
                output.note("the disk takes data again");
            }
            Event::WebSeedFailed { url, message, next_step, .. } => {
                let (url, message) = (untrusted(url), untrusted(message));
                output.note(format_args!("web seed {url}: {message}; {next_step}"));
            }
            Event::PortMapping(PortMapping::Failed { reason }) => {
                output.note(format_args!("no port is mapped: {}", untrusted(reason)));
            }
            Event::NetworkLost { message } => {
                output.note(format_args!("warning: {message}"));
                absent = Some(message.clone());
            }
            Event::NetworkBack => {
                output.note("the network is there; going on");
                absent = None;
            }
            Event::NotListening { message } => output.note(format_args!("warning: {message}")),
            Event::RelayLost { message } => {
                output.note(format_args!("warning: {message}"));
                unrelayed = Some(message.clone());
            }
            Event::RelayBack => {
                output.note("the proxy relays datagrams again");
                unrelayed = None;
            }
            Event::FileTaken { from, is_reflink, .. } => {
                let how = if *is_reflink { "shared with" } else { "copied from" };
                let from = from.display().to_string();
                output.note(format_args!("a file is there already: {how} {}", untrusted(&from)));
            }
            Event::PeerBanned { addr, .. } => {
                let host = untrusted(&network.host_name(*addr));
                output.note(format_args!("{host} sent bad data and is banned"));
            }
            _ => {}
        }
        if let Some(value) = document(&event, &network) {
            output.value(&value);
        }
    }
}

fn document(event: &Event, network: &Network) -> Option<Value> {
    Some(match event {
        Event::Checked { info_hash, resumed_bytes, hashed_bytes } => json!({
            "event": "checked", "info_hash": info_hash.to_string(),
            "resumed": resumed_bytes, "hashed": hashed_bytes,
        }),
        Event::FileTaken { info_hash, file, from, is_reflink } => json!({
            "event": "file_taken", "info_hash": info_hash.to_string(),
            "file": file, "from": from.display().to_string(), "reflink": is_reflink,
        }),
        Event::Completed { info_hash } => {
            json!({"event": "completed", "info_hash": info_hash.to_string()})
        }
        Event::PeerConnected { info_hash, addr } => json!({
            "event": "peer_connected", "info_hash": info_hash.to_string(),
            "peer": network.peer_name(*addr),
        }),
        Event::PeerDisconnected { info_hash, addr, reason } => json!({
            "event": "peer_disconnected", "info_hash": info_hash.to_string(),
            "peer": network.peer_name(*addr), "reason": reason,
        }),
        Event::PeerBanned { info_hash, addr } => json!({
            "event": "peer_banned", "info_hash": info_hash.to_string(),
            "address": network.host_name(*addr),
        }),
        Event::WebSeedFailed { info_hash, url, message, next_step } => json!({
            "event": "web_seed_failed", "info_hash": info_hash.to_string(),
            "url": url, "message": message, "next_step": next_step,
        }),
        Event::TrackerReply { info_hash, tracker, peers } => json!({
            "event": "tracker_reply", "info_hash": info_hash.to_string(),
            "tracker": tracker, "peers": peers,
        }),
        Event::TrackerError { info_hash, tracker, message } => json!({
            "event": "tracker_error", "info_hash": info_hash.to_string(),
            "tracker": tracker, "message": message,
        }),
        Event::DhtReply { info_hash, peers, nodes } => json!({
            "event": "dht_reply", "info_hash": info_hash.to_string(),
            "peers": peers, "nodes": nodes,
        }),
        Event::StorageError { info_hash, message } => json!({
            "event": "storage_error", "info_hash": info_hash.to_string(), "message": message,
        }),
        Event::StorageRecovered { info_hash } => {
            json!({"event": "storage_recovered", "info_hash": info_hash.to_string()})
        }
        Event::PortMapping(status) => gateway::port_mapping(status),
        Event::Pinholes(status) => gateway::pinholes(status),
        Event::ExternalAddress { ip } => json!({"event": "external_address", "ip": ip}),
        Event::NetworkLost { message } => json!({ "event": "network_lost", "message": message }),
        Event::NetworkBack => json!({ "event": "network_back" }),
        Event::NotListening { message } => json!({ "event": "not_listening", "message": message }),
        Event::RelayLost { message } => json!({ "event": "relay_lost", "message": message }),
        Event::RelayBack => json!({ "event": "relay_back" }),
        Event::TorrentFailed { info_hash, message } => json!({
            "event": "torrent_failed", "info_hash": info_hash.to_string(), "message": message,
        }),
        _ => return None, // one line for each piece would be most of the output
    })
}
