//! Seeds every .torrent file of one folder from another, and says how long it took to be ready.
//!
//! ```sh
//! cargo run --release -p peerless-engine --example seed_many -- TORRENTS DATA STATE
//! ```
//!
//! Ctrl-C stops it in good order, so that the next run need not check anything.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use engine::metainfo::Torrent;
use engine::{AddTorrent, Session, StateLocation};

/// Torrents that are being added: more would only wait for each other.
const AT_ONCE: usize = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let [torrents, data, state] = arguments().ok_or("usage: seed_many TORRENTS DATA STATE")?;
    let start = Instant::now();
    let session =
        Session::builder().dht(false).state(StateLocation::Directory(state.into())).start().await?;

    let mut adding = tokio::task::JoinSet::new();
    let mut count = 0;
    for entry in std::fs::read_dir(&torrents)? {
        if adding.len() >= AT_ONCE {
            adding.join_next().await.transpose()?.transpose()?;
        }
        let torrent = Torrent::parse(&std::fs::read(entry?.path())?)?;
        let (session, root) = (session.clone(), Path::new(&data).to_path_buf());
        adding.spawn(async move {
            let seed = session.add(AddTorrent::new(torrent, root).seed_only(true)).await?;
            seed.checked().await?;
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        });
        count += 1;
    }
    while let Some(added) = adding.join_next().await {
        added??;
    }
    println!("{count} torrents ready after {:.3} s", start.elapsed().as_secs_f64());

    tokio::signal::ctrl_c().await?;
    session.shutdown().await;
    Ok(())
}

fn arguments() -> Option<[String; 3]> {
    std::env::args().skip(1).collect::<Vec<_>>().try_into().ok()
}
