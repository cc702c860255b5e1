//! Peers by name: looked up by a resolver of ours when we are bound, all addresses tried, the IP filter
//! kept to; through a proxy left to that, whichever it is.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use engine::metainfo::Torrent;
use engine::wire::PeerId;
use engine::{
    AddTorrent, Encryption, FollowMagnet, HandshakeFailure, HandshakeReport, HandshakeRequest,
    IpFilter, IpFilterBuilder, Network, NetworkOptions, Session, Transport,
};

use crate::support::{DEADLINE, payload, seeder, single_file, within};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The name that only the test's resolver, or its proxy, knows.
const NAME: &str = "seed.test";

fn torrent(dir: &Path) -> Torrent {
    single_file(&dir.join("seed"), "a.bin", &payload(300_000, 1), 64 * 1024)
}

fn filter(list: &str) -> IpFilter {
    let mut builder = IpFilterBuilder::default();
    builder.line(list.as_bytes()).unwrap();
    builder.build().unwrap()
}

/// A name server that gives [`NAME`] these IPv4 addresses, and no other name any.
fn name_server(addrs: &'static [[u8; 4]]) -> SocketAddr {
    let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let addr = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 600];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..length];
            let asks =
                |kind| query.ends_with(&[b"\x04seed\x04test\0\0", &[kind, 0, 1][..]].concat());
            let mut reply = query.to_vec();
            let known: &[_] = if asks(1) { addrs } else { &[] };
            // No such name, or an answer with so many records.
            let code = if asks(1) || asks(28) { 0x80 } else { 0x83 };
            reply[2..8].copy_from_slice(&[0x81, code, 0, 1, 0, known.len() as u8]);
            for ip in known {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4]);
                reply.extend(ip);
            }
            let _ = socket.send_to(&reply, from); // who asked may be gone
        }
    });
    addr
}

/// A network that is bound, and so looks names up by itself.
fn bound(addrs: &'static [[u8; 4]]) -> Network {
    let options = NetworkOptions::default().bind(LOOPBACK.into());
    Network::new(options.name_servers([name_server(addrs)]))
}

/// A proxy that speaks SOCKS5 or HTTP, knows where [`NAME`] is, and remembers what it was asked for.
struct Proxy {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(scheme: &'static str, seed: SocketAddr) -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let (addr, asked) = (listener.local_addr().unwrap(), Arc::default());
        let log: Arc<Mutex<Vec<String>>> = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    let served = match scheme {
                        "socks5" => serve_socks(stream, seed, &log),
                        _ => serve_http(stream, seed, &log),
                    };
                    drop(served); // a connection's end is no error here
                });
            }
        });
        Self { addr, asked }
    }

    fn network(&self, scheme: &str) -> Network {
        let proxy = format!("{scheme}://{}", self.addr).parse().unwrap();
        Network::new(NetworkOptions::default().proxy(proxy))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve_socks(
    mut stream: TcpStream,
    seed: SocketAddr,
    log: &Mutex<Vec<String>>,
) -> io::Result<()> {
    stream.read_exact(&mut [0; 3])?;
    stream.write_all(&[5, 0])?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    if head[1] != 1 || head[3] != 3 {
        // No datagrams, and no connection but to names.
        return stream.write_all(&[5, if head[1] == 1 { 2 } else { 7 }, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
    let mut length = [0];
    stream.read_exact(&mut length)?;
    let mut name = vec![0; usize::from(length[0])];
    stream.read_exact(&mut name)?;
    let mut port = [0; 2];
    stream.read_exact(&mut port)?;
    let name = format!("{}:{}", String::from_utf8_lossy(&name), u16::from_be_bytes(port));
    log.lock().unwrap().push(name);
    let target = TcpStream::connect(seed)?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    pass_on(stream, target)
}

fn serve_http(mut stream: TcpStream, seed: SocketAddr, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    log.lock().unwrap().push(head.split(' ').nth(1).unwrap_or_default().to_owned());
    let target = TcpStream::connect(seed)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    pass_on(stream, target)
}

fn pass_on(one: TcpStream, other: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (one.try_clone()?, other.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to); // until either end closes
        to.shutdown(std::net::Shutdown::Both)
    });
    let (mut from, mut to) = (other, one);
    let _ = io::copy(&mut from, &mut to); // as above
    to.shutdown(std::net::Shutdown::Both)
}

async fn shake(
    torrent: &Torrent,
    peer: String,
    network: Network,
    transport: Transport,
    ip_filter: IpFilter,
) -> Result<HandshakeReport, HandshakeFailure> {
    let request = HandshakeRequest {
        addr: peer,
        info_hash: torrent.info_hash,
        v2: None,
        peer_id: PeerId([7; 20]),
        connect_timeout: DEADLINE,
        timeout: DEADLINE,
        network,
        transport,
        ip_filter: ip_filter.into(),
        encryption: Encryption::Off,
    };
    within(engine::handshake(request)).await
}

/// Downloads by a peer's name alone, once named by the user and once by a link.
async fn fetches_by_name(dir: &Path, torrent: &Torrent, peer: &str, network: impl Fn() -> Network) {
    let copy = |out: &str| std::fs::read(dir.join(out).join("a.bin")).unwrap();
    let session = Session::builder().network(network()).start().await.unwrap();
    let addrs = session.network().peer_addresses(peer).await.unwrap();
    let request = AddTorrent::new(torrent.clone(), dir.join("user")).use_trackers(false);
    let handle = session.add(request.peers(addrs)).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(copy("user"), copy("seed"));
    session.shutdown().await;

    let session = Session::builder().network(network()).start().await.unwrap();
    let link = format!("{}&x.pe={peer}", torrent.magnet()).parse().unwrap();
    let search = session.follow(FollowMagnet::new(link)).unwrap();
    let found = within(search.found()).await.unwrap();
    let handle = session.add(found.into_request(dir.join("link"))).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(copy("link"), copy("seed"));
    session.shutdown().await;
}

#[tokio::test]
async fn a_bound_session_looks_the_name_up_and_tries_every_address() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    // Nobody is at the first two.
    let addrs = &[[127, 0, 0, 71], [127, 0, 0, 72], [127, 0, 0, 1]];
    let peer = format!("{NAME}:{}", addr.port());
    fetches_by_name(dir.path(), &torrent, &peer, || bound(addrs)).await;
    let shaken = shake(&torrent, peer, bound(addrs), Transport::Tcp, IpFilter::default()).await;
    let shaken = shaken.unwrap();
    assert_eq!((shaken.addr, shaken.by_utp), (Some(addr), false));
    let nobody = format!("other.test:{}", addr.port());
    let failure = shake(&torrent, nobody, bound(addrs), Transport::Tcp, IpFilter::default()).await;
    assert!(matches!(failure, Err(HandshakeFailure::Resolve(_))), "{failure:?}");
    seeding.shutdown().await;
}

#[tokio::test]
async fn the_ip_filter_has_what_a_name_leads_to() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (network, peer) = (bound(&[[127, 0, 0, 1]]), format!("{NAME}:{}", addr.port()));
    let filtered = filter("127.0.0.1");
    let refused = shake(&torrent, peer.clone(), network.clone(), Transport::Tcp, filtered).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("the IP filter refuses 127.0.0.1"), "{text}");
    let builder = Session::builder().network(network).ip_filter(filter("127.0.0.1"));
    let session = builder.start().await.unwrap();
    let addrs = session.network().peer_addresses(&peer).await.unwrap();
    let request = AddTorrent::new(torrent.clone(), dir.path().join("out")).use_trackers(false);
    let handle = session.add(request.peers(addrs)).await.unwrap();
    within(handle.checked()).await.unwrap();
    within(async {
        while handle.stats().filtered == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!((handle.stats().peers, handle.stats().downloaded), (0, 0));
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn a_proxy_gets_the_name_as_it_is() {
    for scheme in ["socks5", "http"] {
        let dir = tempfile::tempdir().unwrap();
        let torrent = torrent(dir.path());
        let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
        let proxy = Proxy::start(scheme, addr);
        let network = || proxy.network(scheme);
        let peer = format!("{NAME}:{}", addr.port());
        fetches_by_name(dir.path(), &torrent, &peer, network).await;
        let by = |peer: &str, ip_filter| {
            shake(&torrent, peer.to_owned(), network(), Transport::Both, ip_filter)
        };
        let shaken = by(&peer, IpFilter::default()).await.unwrap();
        assert_eq!((shaken.addr, shaken.by_utp), (None, false), "{scheme}");
        let asked = proxy.asked();
        assert!(asked.len() >= 3 && asked.iter().all(|name| *name == peer), "{asked:?}");
        // Nobody here knows whom a name leads to, so it is not for who keeps away from some.
        let text = by(&peer, filter("192.0.2.1")).await.unwrap_err().to_string();
        assert!(text.contains(&peer) && text.contains("with an IP filter"), "{text}");
        assert_eq!(proxy.asked(), asked, "{scheme}");
        seeding.shutdown().await;
    }
}

#[tokio::test]
async fn utp_alone_is_not_for_names_behind_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    let proxy = Proxy::start("socks5", ([127, 0, 0, 1], 9).into());
    let network = proxy.network("socks5");
    let shaken = shake(&torrent, format!("{NAME}:9"), network, Transport::Utp, IpFilter::default());
    let text = shaken.await.unwrap_err().to_string();
    assert!(text.contains("by TCP alone") && text.contains(NAME), "{text}");
    let network = proxy.network("http");
    let shaken =
        shake(&torrent, "192.0.2.1:9".into(), network, Transport::Utp, IpFilter::default());
    let text = shaken.await.unwrap_err().to_string();
    assert!(text.contains("uTP can't go through the proxy"), "{text}");
    assert_eq!(proxy.asked(), [""; 0]);
}

#[tokio::test]
async fn hands_are_shaken_by_utp_too() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    for theirs in [Transport::Utp, Transport::Tcp] {
        let builder = Session::builder().bind(LOOPBACK).transport(theirs);
        let session = builder.start().await.unwrap();
        let request = AddTorrent::new(torrent.clone(), dir.path().join("seed")).seed_only(true);
        within(session.add(request.use_trackers(false)).await.unwrap().wait()).await.unwrap();
        let addr = session.listen_addresses()[0];
        let by = |transport| {
            shake(&torrent, addr.to_string(), Network::default(), transport, IpFilter::default())
        };
        let utp = by(Transport::Utp).await;
        if theirs == Transport::Tcp {
            assert!(matches!(utp, Err(HandshakeFailure::Connect { .. })), "{utp:?}");
            assert!(!by(Transport::Both).await.unwrap().by_utp);
        } else {
            let utp = utp.unwrap();
            assert_eq!((utp.addr, utp.by_utp), (Some(addr), true));
        }
        session.shutdown().await;
    }
}
