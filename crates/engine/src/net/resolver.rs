//! Names, when we are bound: asked for over sockets of our own, since the system's resolver sends by
//! whatever way it likes. The messages and files are read by [`dns`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ::dns::{ALIASES_MAX, Answer, Kind, MESSAGE_BYTES_MAX, Name, Server, ServersFile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Network, Purpose};

/// How long a server has to answer; then the next is asked. All are asked twice.
const PATIENCE: Duration = Duration::from_secs(3);
const ROUNDS: usize = 2;

/// Once addresses of one family are there, the other has this long.
const OTHER_FAMILY_GRACE: Duration = Duration::from_secs(1);

/// Bytes of an answer over UDP: servers send no more unasked.
const DATAGRAM_BYTES: usize = 512;

/// Bytes of a file that are read. Lists of blocked hosts have megabytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

const PORT: u16 = 53;
const HOSTS: &str = "/etc/hosts";
/// The second has the servers behind a resolver on loopback, which we can't follow to the network.
const SERVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Whom a bound network asks for names.
#[derive(Debug, Clone, Default)]
pub(super) struct Servers {
    pub(super) addrs: Vec<SocketAddr>,
    file: ServersFile,
}

/// The addresses of a name.
pub(super) async fn resolve(network: &Network, host: &str) -> io::Result<Vec<IpAddr>> {
    let name =
        Name::parse(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    if let Some(hosts) = read(HOSTS).await {
        let found = ::dns::addresses_in_hosts(&hosts, &name);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    if name.is_localhost() {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let servers = servers(network).await;
    if servers.addrs.is_empty() {
        let bound = network.binding();
        let message = format!(
            "no name server can be reached by {bound}: {} names none beyond this machine; name one yourself",
            SERVERS[0]
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    for candidate in servers.file.candidates(&name) {
        let found = both_families(network, &servers.addrs, &candidate).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

/// The servers that were named, or those of the system. A server on this machine forwards what it is
/// asked by any interface, so it is asked only by who is bound to loopback.
pub(super) async fn servers(network: &Network) -> Servers {
    let named = &network.inner.options.name_servers;
    let is_local = network.binding().is_loopback();
    let mut servers = Servers::default();
    for path in SERVERS {
        let Some(text) = read(path).await else { continue };
        let file = ServersFile::parse(&text);
        let addrs: Vec<_> = file.servers.iter().filter_map(address).collect();
        servers.file.search.clone_from(&file.search);
        servers.addrs = addrs.into_iter().filter(|it| it.ip().is_loopback() == is_local).collect();
        if !servers.addrs.is_empty() {
            break;
        }
    }
    if !named.is_empty() {
        servers.addrs.clone_from(named);
    }
    servers
}

/// A server's socket address; `None` when its interface is not there.
fn address(server: &Server) -> Option<SocketAddr> {
    match (server.ip, &server.zone) {
        (IpAddr::V6(ip), Some(zone)) => {
            let all = if_addrs::get_if_addrs().ok()?;
            let index = all.iter().find(|one| one.name == *zone)?.index?;
            Some(std::net::SocketAddrV6::new(ip, PORT, 0, index).into())
        }
        (ip, _) => Some(SocketAddr::new(ip, PORT)),
    }
}

async fn read(path: &'static str) -> Option<String> {
    let read = move || {
        use std::io::Read;
        let mut bytes = Vec::new();
        std::fs::File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    tokio::task::spawn_blocking(read).await.ok()?
}

async fn both_families(
    network: &Network,
    servers: &[SocketAddr],
    name: &Name,
) -> io::Result<Vec<IpAddr>> {
    let (v4, v6) =
        (of_family(network, servers, name, Kind::V4), of_family(network, servers, name, Kind::V6));
    tokio::pin!(v4, v6);
    let has_some = |found: &io::Result<Vec<IpAddr>>| found.as_ref().is_ok_and(|it| !it.is_empty());
    let late = || Err(io::ErrorKind::TimedOut.into());
    let (v4, v6) = tokio::select! {
        first = &mut v4 => {
            let second = if has_some(&first) {
                timeout(OTHER_FAMILY_GRACE, v6).await.unwrap_or_else(|_| late())
            } else {
                v6.await
            };
            (first, second)
        }
        first = &mut v6 => {
            let second = if has_some(&first) {
                timeout(OTHER_FAMILY_GRACE, v4).await.unwrap_or_else(|_| late())
            } else {
                v4.await
            };
            (second, first)
        }
    };
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// The name's addresses of one family, by its aliases if it has any.
async fn of_family(
    network: &Network,
    servers: &[SocketAddr],
    name: &Name,
    kind: Kind,
) -> io::Result<Vec<IpAddr>> {
    let mut name = name.clone();
    for _ in 0..=ALIASES_MAX {
        match ask_any(network, servers, &name, kind).await? {
            Answer::Addresses(found) => return Ok(found),
            Answer::Alias(of) => name = of,
            _ => return Ok(Vec::new()),
        }
    }
    Ok(Vec::new())
}

/// Asks one server after the other until one can say.
async fn ask_any(
    network: &Network,
    servers: &[SocketAddr],
    name: &Name,
    kind: Kind,
) -> io::Result<Answer> {
    let mut failure = io::Error::from(io::ErrorKind::TimedOut);
    for server in servers.iter().cycle().take(servers.len() * ROUNDS) {
        let asked = ask(network, *server, name, kind);
        failure = match timeout(PATIENCE, asked).await {
            Ok(Ok(Answer::Failed(code))) => {
                io::Error::other(format!("the name server {server} failed with code {code}"))
            }
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => {
                io::Error::new(error.kind(), format!("name server {server}: {error}"))
            }
            Err(_) => {
                let message = format!("the name server {server} did not answer");
                io::Error::new(io::ErrorKind::TimedOut, message)
            }
        };
    }
    Err(failure)
}

/// Asks one server, by TCP where the answer is too long for a datagram.
async fn ask(network: &Network, server: SocketAddr, name: &Name, kind: Kind) -> io::Result<Answer> {
    // Whoever can guess it can answer in the server's place. The port is the system's choice for each
    // question, and what comes from another address the kernel drops.
    let id = getrandom::u32().map_err(io::Error::other)? as u16;
    let query = ::dns::query(id, name, kind);
    let socket = network.udp_to(server, Purpose::Resolver).await?;
    socket.send(&query).await?;
    let mut buffer = [0; DATAGRAM_BYTES];
    let until = Instant::now() + PATIENCE;
    loop {
        let length = timeout_at(until, socket.recv(&mut buffer)).await??;
        match ::dns::answer(&buffer[..length], id, name, kind) {
            Ok(Answer::Truncated) => break,
            Ok(answer) => return Ok(answer),
            Err(error) => tracing::debug!(%server, %error, "not an answer"),
        }
    }
    let mut stream = network.connect(server, Purpose::Resolver).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), &query[..]].concat()).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut message = vec![0; length.min(MESSAGE_BYTES_MAX)];
    stream.read_exact(&mut message).await?;
    let answer = ::dns::answer(&message, id, name, kind);
    answer.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests;
