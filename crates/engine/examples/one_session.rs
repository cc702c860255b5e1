//! Downloads several torrents in one session, each from one peer into a folder of its own. Says when
//! each is complete, and how long the session took to answer meanwhile.
//!
//! ```sh
//! cargo run -p peerless-engine --example one_session -- BIND [TORRENT FOLDER PEER]...
//! ```

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use engine::metainfo::Torrent;
use engine::{AddTorrent, Session, StateLocation};
use tokio::task::JoinSet;

/// How often the session is asked.
const ASK_EVERY: Duration = Duration::from_millis(10);

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (bind, downloads) = arguments.split_first().ok_or("usage: one_session BIND ...")?;
    let builder = Session::builder().bind(bind.parse()?).state(StateLocation::Memory);
    let session = builder.start().await?;
    let start = Instant::now();
    let mut running = JoinSet::new();
    for download in downloads.chunks_exact(3) {
        let torrent = Torrent::parse(&std::fs::read(&download[0])?)?;
        let (session, peer) = (session.clone(), download[2].parse()?);
        let request = AddTorrent::new(torrent, &download[1]).use_trackers(false).peers([peer]);
        running.spawn(async move {
            let handle = session.add(request).await?;
            handle.wait().await?;
            Ok::<_, Failure>(handle.torrent().info.name())
        });
    }
    let mut answers = Vec::new();
    let mut ticks = tokio::time::interval(ASK_EVERY);
    while !running.is_empty() {
        tokio::select! {
            Some(done) = running.join_next() => {
                println!("{:.3} s: {} is complete", start.elapsed().as_secs_f64(), done??);
                println!("{}", report(&mut answers));
            }
            due = ticks.tick() => {
                for handle in session.torrents() {
                    black_box((handle.stats(), handle.peers()));
                }
                black_box(session.stats());
                answers.push(due.elapsed()); // nothing else may keep this thread either
            }
        }
    }
    session.shutdown().await;
    Ok(())
}

/// The longest answer but one in a hundred.
fn report(answers: &mut [Duration]) -> String {
    answers.sort_unstable();
    let late = answers.get(answers.len() * 99 / 100).copied().unwrap_or_default();
    format!("{} answers, of a hundred 99 within {:.1} ms", answers.len(), late.as_secs_f64() * 1e3)
}
