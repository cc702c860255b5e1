//! `peerless demo`: the whole way on one machine, with measurements.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use engine::metainfo::{CreateOptions, Torrent};
use engine::{AddTorrent, HandshakeRequest, Network, Session};
use serde_json::json;

use super::create;
use super::drawing::draw;
use crate::exit::{Code, Failure};
use crate::format;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Share a sample from one session, download it with another over loopback, verify and measure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless demo
  peerless demo --size 1G --json

PEERLESS_DIGEST=portable|sha-ni|avx2|avx512 hashes with that kernel instead of the fastest. \
Needs no network. Everything it makes is in a temporary folder, which it removes.")]
pub(crate) struct Args {
    /// Bytes of the sample, such as 64M or 1G.
    #[arg(long, value_name = "N", default_value = "256M", value_parser = format::parse_bytes)]
    size: u64,
}

/// Longer than any machine needs; only a hang reaches it.
const TRANSFER_TIME: Duration = Duration::from_mins(5);

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let interrupt = Interrupt::listen();
        // Removed when it goes out of scope, whichever way this ends.
        let dir = tempfile::Builder::new()
            .prefix("peerless-demo-")
            .tempdir()
            .map_err(|error| Failure::file(&std::env::temp_dir(), &error))?;
        tokio::select! {
            done = demonstrate(dir.path(), self.size, output) => done,
            () = interrupt.wait() => Err(Failure::interrupted()),
        }
    }
}

async fn demonstrate(dir: &Path, size: u64, output: Output) -> Result<(), Failure> {
    let (from, to) = (dir.join("from"), dir.join("to"));
    let payload = from.join("sample.bin");
    std::fs::create_dir(&from).map_err(|error| Failure::file(&from, &error))?;
    let sample = payload.clone();
    output.line(format_args!("Making a sample of {}", format::bytes(size)));
    let made = tokio::task::spawn_blocking(move || make_sample(&sample, size));
    made.await.map_err(Failure::other)?.map_err(|error| Failure::file(&payload, &error))?;

    let hashing = Instant::now();
    let torrent = create::create(&payload, CreateOptions::default(), output).await?.bytes;
    let torrent = Torrent::parse(&torrent).map_err(Failure::other)?;
    output.line(format_args!("Created the torrent {}", torrent.info_hash));
    output.line(format_args!("  in {:.2} s", hashing.elapsed().as_secs_f64()));
    let kernel = engine::storage::hash_kernel();
    output.line(format_args!("  hashed by {kernel}"));

    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let seeder = Session::builder().bind(loopback).start().await?;
    let request = AddTorrent::new(torrent.clone(), &from).use_trackers(false).seed_only(true);
    seeder.add(request).await?.checked().await?;
    let addr = seeder.listen_addresses().first().copied();
    let addr = addr.ok_or_else(|| Failure::other("the seeder does not listen"))?;
    shake_hands(&torrent, addr, output).await?;

    let leecher = Session::builder().bind(loopback).start().await?;
    let before = cpu();
    let start = Instant::now();
    let request = AddTorrent::new(torrent.clone(), &to).use_trackers(false).peers([addr]);
    let handle = leecher.add(request).await?;
    let drawing = draw(&handle, leecher.network(), output);
    let done = tokio::time::timeout(TRANSFER_TIME, handle.wait()).await;
    let elapsed = start.elapsed();
    let after = cpu();
    drawing.end().await;
    done.map_err(|_| Failure::other("the transfer hangs"))??;
    seeder.shutdown().await;
    leecher.shutdown().await;

    let copy = to.join("sample.bin");
    let same = tokio::task::spawn_blocking(move || are_equal(&payload, &copy)).await;
    if !same.map_err(Failure::other)?.map_err(|error| Failure::file(&to, &error))? {
        return Err(Failure::new(Code::Verification, "the copy differs from the sample"));
    }
    let gib = size as f64 / f64::from(1 << 30);
    let spent = before.zip(after);
    let spent =
        spent.map(|(before, after)| ((after.0 - before.0) / gib, (after.1 - before.1) / gib));
    let speed = size as f64 / elapsed.as_secs_f64();
    output.value(&json!({
        "event": "demo", "bytes": size, "seconds": elapsed.as_secs_f64(),
        "bytes_per_second": speed as u64, "identical": true, "hash_kernel": kernel,
        "cpu_seconds_per_gib": spent.map(|(user, system)| json!({
            "user": user, "system": system, "total": user + system,
        })),
    }));
    output.line(format_args!(
        "Downloaded and verified {} in {:.2} s: {}",
        format::bytes(size),
        elapsed.as_secs_f64(),
        format::rate(speed as u64),
    ));
    if let Some((user, system)) = spent {
        output.line(format_args!(
            "CPU of both sides together: {:.2} s/GiB (user {user:.2}, system {system:.2})",
            user + system,
        ));
    }
    output.line("The copy is identical.");
    Ok(())
}

async fn shake_hands(torrent: &Torrent, addr: SocketAddr, output: Output) -> Result<(), Failure> {
    let mut rng = fastrand::Rng::new();
    let report = engine::handshake(HandshakeRequest {
        addr: addr.to_string(),
        info_hash: torrent.info_hash,
        v2: None,
        peer_id: engine::wire::PeerId::generate(|| rng.u8(..)),
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        network: Network::default(),
        transport: engine::Transport::Tcp,
        ip_filter: std::sync::Arc::default(),
        encryption: engine::Encryption::Off,
    })
    .await?;
    let name = report.peer_id.client_name().unwrap_or_default();
    output.line(format_args!("Shook hands with {addr}: {name}, {}", report.peer_id));
    Ok(())
}

/// Bytes that nothing can compress, the same in every run.
fn make_sample(path: &Path, size: u64) -> std::io::Result<()> {
    let mut rng = fastrand::Rng::with_seed(0);
    let mut file = File::create_new(path)?;
    let mut chunk = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        let part = left.min(chunk.len() as u64) as usize;
        let Some(part) = chunk.get_mut(..part) else { break };
        rng.fill(part);
        file.write_all(part)?;
        left -= part.len() as u64;
    }
    Ok(())
}

fn are_equal(a: &Path, b: &Path) -> std::io::Result<bool> {
    use std::io::Read;
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let got = a.read(&mut one)?;
        let (Some(one), Some(other)) = (one.get(..got), other.get_mut(..got)) else {
            return Ok(false);
        };
        b.read_exact(other)?;
        if one != other {
            return Ok(false);
        }
        if got == 0 {
            return Ok(true);
        }
    }
}

/// User and system CPU seconds of this process so far; `None` where the system does not say.
fn cpu() -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name in parentheses: state is field 3, utime and stime are 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / ticks);
    Some((seconds()?, seconds()?))
}
