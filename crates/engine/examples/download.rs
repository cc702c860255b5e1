//! Downloads a torrent into the current folder and prints its progress.
//!
//! ```sh
//! cargo run --release -p peerless-engine --example download -- ubuntu.torrent
//! ```

use std::error::Error;
use std::time::Duration;

use engine::metainfo::Torrent;
use engine::{AddTorrent, Session, StateLocation};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: download TORRENT")?;
    let torrent = Torrent::parse(&std::fs::read(path)?)?;

    // The state lets a later run go on where this one stopped.
    let state = StateLocation::Directory(".peerless".into());
    let session = Session::builder().port(6881).state(state).start().await?;
    let download = session.add(AddTorrent::new(torrent, ".")).await?;

    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            done = download.wait() => {
                done?;
                break;
            }
            _ = every_second.tick() => {
                let stats = download.stats();
                println!(
                    "{:?}: {} of {} bytes, {} B/s from {} peers",
                    stats.state, stats.verified_bytes, stats.total_bytes, stats.download_rate, stats.peers,
                );
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    session.shutdown().await;
    Ok(())
}
