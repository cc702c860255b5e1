//! Nodes and tables for people and programs.

use engine::dht_core::Status;
use serde_json::json;

use crate::output::Output;

/// Two letters and two bytes of version, as far as they can be read.
pub(super) fn client(name: [u8; 4]) -> String {
    let [first, second, major, minor] = name;
    let letter = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '?' };
    format!("{}{} {major}.{minor}", letter(first), letter(second))
}

/// The table of each socket, and what has been kept and sent.
pub(super) fn status(status: &Status, output: Output) {
    let mut nodes = Vec::new();
    for node in &status.interfaces {
        let external = node.external.map_or("unknown".into(), |ip| ip.to_string());
        output.line(format_args!("{}: node {}, seen at {external}", node.local, node.id));
        output.line(format_args!(
            "    {} nodes in {} buckets, {} of them good",
            node.nodes, node.buckets, node.good
        ));
        nodes.push(json!({
            "local": node.local, "id": node.id.to_string(), "external": node.external,
            "nodes": node.nodes, "good": node.good, "buckets": node.buckets,
            "joined": node.has_joined,
        }));
    }
    let counters = &status.counters;
    output.line(format_args!(
        "keeps {} peers of {} torrents, and {} items",
        status.peers, status.torrents, status.items
    ));
    output.line(format_args!(
        "asked {} queries: {} answers, {} errors, {} lost",
        counters.queries_out, counters.replies_in, counters.errors_in, counters.lost
    ));
    output.value(&json!({
        "interfaces": nodes,
        "kept": { "torrents": status.torrents, "peers": status.peers, "items": status.items },
        "counters": {
            "packets_in": counters.packets_in, "packets_out": counters.packets_out,
            "bytes_out": counters.bytes_out, "queries_in": counters.queries_in,
            "queries_out": counters.queries_out, "replies_in": counters.replies_in,
            "errors_in": counters.errors_in, "lost": counters.lost, "stray": counters.stray,
            "junk": counters.junk, "limited": counters.limited,
        },
    }));
}
