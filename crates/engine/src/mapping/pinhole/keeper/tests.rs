//! A gateway's firewall that says no to a renewal, on loopback.

use std::net::Ipv6Addr;

use portmap::ssdp::Location;

use super::*;
use crate::http::scripted::{Answer, Scripted};

const KIND: &str = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1";
const PORT: u16 = 6881;

fn said(action: &str, inner: &str) -> Answer {
    let body = format!("<u:{action}Response xmlns:u=\"{KIND}\">{inner}</u:{action}Response>");
    Answer::ok(format!("<s:Envelope><s:Body>{body}</s:Body></s:Envelope>"))
}

fn opened(number: u16) -> Answer {
    said("AddPinhole", &format!("<UniqueID>{number}</UniqueID>"))
}

fn refused(code: u16) -> Answer {
    let error = format!("<errorCode>{code}</errorCode><errorDescription>no</errorDescription>");
    let fault = format!("<s:Fault><detail><UPnPError>{error}</UPnPError></detail></s:Fault>");
    let body = format!("<s:Envelope><s:Body>{fault}</s:Body></s:Envelope>");
    Answer::with("500 Internal Server Error", "", body)
}

struct Rig {
    keeper: Keeper,
    by: By,
    server: Scripted,
}

impl Rig {
    async fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        let server = Scripted::start_on(Ipv6Addr::LOCALHOST.into(), answers).await;
        let description = format!(
            "<root><device><serviceList><service><serviceType>{KIND}</serviceType>\
             <controlURL>/6fc</controlURL></service></serviceList></device></root>"
        );
        let location = Location { addr: server.addr, path: "/root.xml".into() };
        let service = igd::firewalls(description.as_bytes(), &location).remove(0);
        let network = Network::bound_to(Ipv6Addr::LOCALHOST.into());
        Self {
            keeper: Keeper::new(network, [7; 12], Clock::start()),
            by: By::Upnp(service),
            server,
        }
    }

    /// Has them open or renewed; gives what the gateway was asked.
    async fn keep(&mut self) -> (Result<u32, PinholeError>, Vec<String>) {
        let gateway = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
        let done = self.keeper.all(&self.by, gateway, &[Ipv6Addr::LOCALHOST], PORT).await;
        let mut asked = Vec::new();
        while self.server.requests_left() > 0 {
            let head = self.server.request().await;
            let (_, action) = head.split_once('#').unwrap();
            asked.push(action.split('"').next().unwrap().to_owned());
        }
        (done.map(|(_, seconds)| seconds), asked)
    }

    fn ids(&self) -> Vec<[Option<u16>; 2]> {
        self.keeper.held.iter().map(|hole| hole.ids).collect()
    }
}

#[tokio::test]
async fn a_pinhole_that_is_not_renewed_is_asked_for_anew() {
    let answers = [opened(1), opened(2)]; // TCP and UDP
    let forgotten = [refused(704), opened(3), said("UpdatePinhole", "")];
    let denied = [refused(606), refused(606), opened(4), said("UpdatePinhole", "")];
    let full = [refused(501), said("DeletePinhole", ""), opened(5), refused(704), opened(6)];
    let all = answers.into_iter().chain(forgotten).chain(denied).chain(full);
    let mut rig = Rig::answering(all).await;
    let (open, update, delete) = ("AddPinhole", "UpdatePinhole", "DeletePinhole");
    for (asked, ids) in [
        (vec![open, open], [1, 2]),
        (vec![update, open, update], [3, 2]),
        // Whatever it says of the old one, that is not left behind by us.
        (vec![update, delete, open, update], [4, 2]),
        (vec![update, delete, open, update, open], [5, 6]),
    ] {
        let (done, heard) = rig.keep().await;
        assert_eq!(done.unwrap(), LIFETIME_SECONDS);
        assert_eq!(heard, asked);
        assert_eq!(rig.ids(), [ids.map(Some)]);
    }
}

/// It lasts on, and is to be closed in the end.
#[tokio::test]
async fn a_gateway_that_can_not_be_talked_to_leaves_what_was_open_on_the_list() {
    let mut rig = Rig::answering([opened(1), opened(2), Answer::Bytes(b"what?".into())]).await;
    assert_eq!(rig.keep().await.0.unwrap(), LIFETIME_SECONDS);
    let (done, _) = rig.keep().await;
    assert!(matches!(done, Err(PinholeError::Description { .. })), "{done:?}");
    assert_eq!(rig.ids(), [[Some(1), Some(2)]]);
    let left = rig.keeper.left().as_secs();
    assert!((LIFETIME_SECONDS - 60..=LIFETIME_SECONDS).contains(&(left as u32)), "{left}");
}

/// An earlier gateway, which let peers in by another port, is not there any more.
#[tokio::test]
async fn the_port_by_which_another_gateway_let_peers_in_is_forgotten() {
    let mut rig = Rig::answering([opened(1), opened(2)]).await;
    rig.keeper.external_port = Some(7000);
    rig.keep().await.0.unwrap();
    assert_eq!(rig.keeper.external_port(), Some(PORT));
}
