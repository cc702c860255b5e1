//! Nodes of the DHT as the crate `mainline` has them, for the interop suite: one for each address that
//! is named, all beginning with the same others, and all of them serving.
//!
//! ```sh
//! mainline-node BOOTSTRAP[,BOOTSTRAP...] IP:PORT [IP:PORT...]
//! ```
//!
//! Says `{"ready": COUNT}` when all have joined. Then takes orders, a line each, and answers each with a
//! JSON object as soon as it is done: `announce NODE HASH PORT` and `find NODE HASH`, where `NODE` is the
//! place in the list of addresses. A node does one after the other. Ends with its input.

#![allow(deprecated)] // the blocking calls: the others would bring an executor for nothing

use std::error::Error;
use std::io::stdin;
use std::net::SocketAddrV4;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mainline::{Dht, Id};

fn start(bootstrap: &[&str], addr: &str) -> Result<Dht, Box<dyn Error>> {
    let addr: SocketAddrV4 = addr.parse()?;
    let mut builder = Dht::builder();
    builder.bootstrap(bootstrap).bind_address(*addr.ip()).port(addr.port()).server_mode();
    Ok(builder.build()?)
}

/// Does what follows `NODE` in an order; gives the answer.
fn obey(node: &Dht, verb: &str, words: &[&str]) -> Result<String, Box<dyn Error>> {
    match (verb, words) {
        ("announce", [hash, port]) => {
            node.announce_peer(hash.parse::<Id>()?, Some(port.parse()?))?;
            Ok(format!(r#"{{"announced": "{hash}"}}"#))
        }
        ("find", [hash]) => {
            let found = node.get_peers(hash.parse::<Id>()?).flatten();
            let peers: Vec<String> = found.map(|peer| format!(r#""{peer}""#)).collect();
            Ok(format!(r#"{{"found": "{hash}", "peers": [{}]}}"#, peers.join(", ")))
        }
        _ => Err("neither `announce NODE HASH PORT` nor `find NODE HASH`".into()),
    }
}

/// Does one node's orders.
fn serve(node: &Dht, orders: &Receiver<String>) {
    for order in orders {
        let words: Vec<&str> = order.split_whitespace().collect();
        let (verb, rest) = (words.first().unwrap_or(&""), words.get(2..).unwrap_or(&[]));
        match obey(node, verb, rest) {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!(r#"{{"error": "{order}: {error}"}}"#),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, addrs @ ..] = &arguments[..] else {
        return Err("usage: mainline-node BOOTSTRAP[,BOOTSTRAP...] IP:PORT [IP:PORT...]".into());
    };
    let bootstrap: Vec<&str> = bootstrap.split(',').collect();
    let nodes: Vec<Dht> =
        addrs.iter().map(|addr| start(&bootstrap, addr)).collect::<Result<_, _>>()?;
    for node in &nodes {
        if !node.bootstrapped() {
            return Err("a node found nobody to begin with".into());
        }
    }
    println!(r#"{{"ready": {}}}"#, nodes.len());
    thread::scope(|scope| {
        let mut queues: Vec<Sender<String>> = Vec::new();
        for node in &nodes {
            let (queue, orders) = channel();
            queues.push(queue);
            scope.spawn(move || serve(node, &orders));
        }
        for order in stdin().lines() {
            let order = order?;
            let node = order.split_whitespace().nth(1).and_then(|node| node.parse::<usize>().ok());
            let queue = node.and_then(|node| queues.get(node)).ok_or("no such node")?;
            queue.send(order)?;
        }
        Ok(())
    })
}
