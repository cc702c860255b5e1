//! What a session does when what it is bound to goes and comes back: it holds still, says so, and goes
//! on by itself.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracker::Prompt;

use crate::events::Event;
use crate::listening;
use crate::net::Change;
use crate::session::SessionShared;
use crate::shard::ShardMessage;

/// Watches for as long as it is polled.
pub(crate) async fn watch(session: Arc<SessionShared>) {
    let (network, weak) = (session.network.clone(), Arc::downgrade(&session));
    drop(session);
    network.watch(move |change| tell(&weak, &change)).await;
}

/// How often a session goes on for a proxy that is back: one that can't take us all would have even more
/// to do.
const PROXY_BACK_EVERY: Duration = Duration::from_mins(1);

/// The same of a proxy that could not be reached and can be again.
pub(crate) async fn watch_proxy(session: Arc<SessionShared>) {
    let (network, weak) = (session.network.clone(), Arc::downgrade(&session));
    drop(session);
    let Some(proxy) = network.proxy().cloned() else { return };
    let mut next = Instant::now();
    loop {
        network.proxy_back(&proxy).await;
        if timeout_at(next, network.proxy_lost()).await.is_ok() {
            continue; // and lost again
        }
        next = Instant::now() + PROXY_BACK_EVERY;
        let Some(session) = weak.upgrade() else { return };
        tracing::info!("the proxy can be reached again");
        go_on(&session, Prompt::User); // not moved: others see the proxy's address
    }
}

/// What failed for want of a network is tried again.
fn go_on(session: &SessionShared, prompt: Prompt) {
    session.tell_shards(|| ShardMessage::NetworkBack);
    session.searches.all().iter().for_each(|search| search.network_back());
    session.all().iter().for_each(|shared| shared.announce_now(prompt));
}

fn tell(session: &Weak<SessionShared>, change: &Change) {
    let Some(session) = session.upgrade() else { return };
    match change {
        Change::Lost(absence) => {
            let message = absence.to_string();
            tracing::warn!(%message, "the network is lost");
            // Their connections lead nowhere, and would be waited for.
            let lost = || ShardMessage::NetworkLost { message: message.clone() };
            session.tell_shards(lost);
            session.searches.all().iter().for_each(|search| search.network_lost());
            session.events.send(Event::NetworkLost { message: message.clone() });
        }
        Change::Back => {
            session.datagrams.reopen();
            if let Err(error) = listening::open(&session) {
                tracing::debug!(%error, "not listening yet"); // it is tried again, and told
            }
            session.listening.nobody_came();
            session.mapping.look_again();
            session.trackers.network_back();
            go_on(&session, Prompt::Moved); // its address may be another
            session.events.send(Event::NetworkBack);
        }
    }
}
