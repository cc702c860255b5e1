//! Gateways that lie about sizes, send us elsewhere, or say nothing.

use std::net::Ipv4Addr;

use portmap::igd::BODY_MAX;
use portmap::ssdp::Location;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::http;
use crate::net::{Network, Purpose};

/// Serves each connection this, and counts them.
fn serves(answer: Vec<u8>) -> (Location, tokio::task::JoinHandle<usize>) {
    let network = Network::bound_to(Ipv4Addr::LOCALHOST.into());
    let local = (Ipv4Addr::LOCALHOST, 0).into();
    let mut listener = network.listen_on(local, Purpose::TrackerServer).unwrap();
    let addr = listener.local_addr();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 1024];
        let length = stream.read(&mut asked).await.unwrap();
        let _ = stream.write_all(&answer).await; // who has enough hangs up
        length
    });
    (Location { addr, path: "/root.xml".into() }, serving)
}

async fn get(answer: Vec<u8>) -> Result<(u16, usize), String> {
    let (location, serving) = serves(answer);
    let network = Network::bound_to(Ipv4Addr::LOCALHOST.into());
    let got = http::get(&network, &location).await;
    assert!(serving.await.unwrap() > 0);
    got.map(|(status, body)| (status, body.len()))
}

#[tokio::test]
async fn a_body_is_bounded_whatever_its_head_says() {
    let fits = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; BODY_MAX]].concat();
    assert_eq!(get(fits).await, Ok((200, BODY_MAX)));
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 4 * BODY_MAX]].concat();
    assert!(get(endless).await.is_err());
    let head = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    assert!(get(head).await.is_err());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer =
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(get(answer.to_vec()).await, Ok((302, 0)));
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_waited_for_in_vain_and_not_long() {
    let network = Network::bound_to(Ipv4Addr::LOCALHOST.into());
    let local = (Ipv4Addr::LOCALHOST, 0).into();
    let listener = network.listen_on(local, Purpose::TrackerServer).unwrap();
    let location = Location { addr: listener.local_addr(), path: "/".into() };
    let begun = tokio::time::Instant::now();
    let got = http::get(&network, &location).await;
    assert!(got.unwrap_err().contains("within 5 s"));
    assert!(begun.elapsed().as_secs() <= 5);
}
