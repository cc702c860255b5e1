//! Web seeds (BEP 17, 19) on loopback that behave well, badly and worse: torrents without any peer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::{AddTorrent, RateLimits, Session, WebSeedState};

use crate::support::{seeder, within};
use crate::web::{Asked, PIECE, Reply, Thing, Web, sooner_or_later};

#[tokio::test]
async fn a_torrent_without_peers_completes_from_a_web_seed() {
    let thing = Thing::tree();
    let web = Web::good(&thing.home()).await;
    thing.completes_from(&web.url).await;
    let asked = web.asked();
    let bytes: usize = asked.iter().map(|asked| asked.range.map_or(0, |(a, b)| b + 1 - a)).sum();
    assert_eq!(bytes as u64, thing.length(), "nothing is asked for twice");
    assert!(web.connections.load(Ordering::Relaxed) <= 4, "they are kept");
    assert!(asked.iter().all(|asked| asked.head.contains("accept-encoding: identity")));
    // Without the slash it is the same folder.
    let again = Thing::tree();
    again.completes_from(web.url.trim_end_matches('/')).await;
}

#[tokio::test]
async fn a_single_file_is_the_url_or_lies_in_its_folder() {
    let thing = Thing::file(3_000_001);
    let web = Web::good(&thing.home()).await;
    thing.completes_from(&web.url).await;
    std::fs::remove_dir_all(thing.dir.path().join("out")).unwrap();
    std::fs::copy(thing.home().join("a file.bin"), thing.home().join("other")).unwrap();
    thing.completes_from(&format!("{}other", web.url)).await;
    assert_eq!(web.asked().last().unwrap().path, "/other");
}

#[tokio::test]
async fn a_script_gives_parts_of_pieces() {
    let mut thing = Thing::file(500_001);
    let file = std::fs::read(thing.home().join("a file.bin")).unwrap();
    let web = Web::start(&thing.home(), move |nth, asked| {
        if nth == 0 {
            return Reply::Raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\n0".to_vec());
        }
        let value = |name: &str| {
            asked.path.split(name).nth(1).unwrap().split('&').next().unwrap().to_owned()
        };
        let piece: usize = value("&piece=").parse().unwrap();
        let ranges = value("&ranges=");
        let (first, last) = ranges.split_once('-').unwrap();
        let at = |text: &str| piece * PIECE as usize + text.parse::<usize>().unwrap();
        let body = &file[at(first)..=at(last)];
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        Reply::Raw([head.as_bytes(), body].concat())
    })
    .await;
    thing.torrent.http_seeds = vec![format!("{}seed.php", web.url)];
    // A script always gets a query, so a torrent alone may not lead to one here.
    let (session, handle) = thing.get(&[]).await;
    let seed = sooner_or_later(async || {
        handle.web_seeds().into_iter().find(|seed| seed.state == WebSeedState::Out)
    });
    assert!(seed.await.error.unwrap().contains("loopback address"));
    session.shutdown().await;
    assert_eq!(web.asked(), []);
    let session =
        Session::builder().listen(false).allow_private_trackers(true).start().await.unwrap();
    let request = AddTorrent::new(thing.torrent.clone(), thing.dir.path().join("out"));
    let handle = session.add(request.use_trackers(false)).await.unwrap();
    within(handle.wait()).await.unwrap();
    thing.check();
    assert!(web.asked()[0].path.starts_with("/seed.php?info_hash="));
    session.shutdown().await;
}

#[tokio::test]
async fn whole_files_are_taken_where_they_are_of_use() {
    let small = Thing::tree(); // no file is longer than what may be skipped
    let web = Web::start(&small.home(), |_, _| Reply::Whole).await;
    small.completes_from(&web.url).await;
    let large = Thing::file(12_000_000);
    let web = Web::start(&large.home(), |_, _| Reply::Whole).await;
    let status = large.fails_with(&web.url, "knows no ranges").await;
    assert_eq!(status.state, WebSeedState::Out);
}

#[tokio::test]
async fn each_bad_answer_has_its_error() {
    let thing = Thing::file(200_000);
    let bad: [(&str, Reply); 13] = [
        (
            "another range",
            Reply::raw(
                "HTTP/1.1 206 P\r\nContent-Range: bytes 5-65540/200000\r\nContent-Length: 65536\r\n\r\n",
                65536,
            ),
        ),
        ("another range", Reply::raw("HTTP/1.1 206 P\r\nContent-Length: 65536\r\n\r\n", 65536)),
        (
            "none of the torrent's files",
            Reply::raw(
                "HTTP/1.1 206 P\r\nContent-Range: bytes 0-65535/200001\r\nContent-Length: 65536\r\n\r\n",
                65536,
            ),
        ),
        (
            "none of the torrent's files",
            Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 100),
        ),
        (
            "compresses",
            Reply::raw(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 200000\r\n\r\n",
                100,
            ),
        ),
        (
            "none of the torrent's files",
            Reply::status("416 Range", "Content-Range: bytes */100\r\n"),
        ),
        ("none of the torrent's files", Reply::status("404 Not Found", "")),
        ("none of the torrent's files", Reply::status("403 Forbidden", "")),
        ("status 500", Reply::status("500 Oops", "")),
        ("loopback address", Reply::status("302 Found", "Location: http://127.0.0.2:1/x\r\n")),
        ("in a circle", Reply::status("302 Found", "Location: /a%20file.bin\r\n")),
        (
            "exchange",
            Reply::raw(&format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(300_000)), 0),
        ),
        ("exchange", Reply::raw("I am no web server\r\n\r\n", 0)),
    ];
    for (words, reply) in bad {
        let web = Web::start(&thing.home(), move |_, _| reply.clone()).await;
        let status = thing.fails_with(&web.url, words).await;
        assert!(status.next_step.is_some());
        assert_eq!(status.downloaded, 0, "{words}");
    }
}

#[tokio::test]
async fn a_busy_server_is_left_alone_as_long_as_it_asks() {
    let thing = Thing::file(200_000);
    let busy = |_, _: &Asked| Reply::status("503 Busy", "Retry-After: 120\r\n");
    let web = Web::start(&thing.home(), busy).await;
    let status = thing.fails_with(&web.url, "busy").await;
    assert_eq!(status.state, WebSeedState::Resting);
    assert!(status.next_in.unwrap() > Duration::from_secs(100), "{status:?}");
}

#[tokio::test]
async fn what_one_does_not_have_comes_from_another() {
    let thing = Thing::tree();
    let lacks = |_: usize, asked: &Asked| {
        if asked.path.ends_with("50%.bin") { Reply::status("404 No", "") } else { Reply::Serve }
    };
    let [one, other] = [Web::start(&thing.home(), lacks).await, Web::good(&thing.home()).await];
    // Alone it gives all but the pieces that have bytes of the file.
    let (session, handle) = thing.get(&[&one.url]).await;
    let file =
        thing.torrent.info.files().iter().position(|f| f.path.display().ends_with("50%.bin"));
    let lost = thing.torrent.info.pieces_of_file(file.unwrap()).len() as u32;
    let whole = handle.stats().pieces_total;
    sooner_or_later(async || (handle.stats().pieces_have == whole - lost).then_some(())).await;
    let status = &handle.web_seeds()[0];
    assert_eq!((status.files_missing, status.state), (1, WebSeedState::Active));
    session.shutdown().await;
    std::fs::remove_dir_all(thing.dir.path().join("out")).unwrap();
    let (session, handle) = thing.get(&[&one.url, &other.url]).await;
    within(handle.wait()).await.unwrap();
    thing.check();
    session.shutdown().await;
}

#[tokio::test]
async fn who_sends_bad_data_is_out_and_the_rest_comes_from_another() {
    let thing = Thing::file(2_000_000);
    let bad = Web::start(&thing.home(), |_, _| Reply::Corrupt).await;
    let good = Web::good(&thing.home()).await;
    let (session, handle) = thing.get(&[&bad.url, &good.url]).await;
    within(handle.wait()).await.unwrap();
    thing.check();
    let seeds = handle.web_seeds();
    assert_eq!(seeds[0].state, WebSeedState::Out, "{seeds:?}");
    assert_eq!(seeds[0].error.as_deref(), Some("it sent bad data"));
    assert!(seeds[1].downloaded > 0 && seeds[1].error.is_none(), "{seeds:?}");
    session.shutdown().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_gone_on_with() {
    let thing = Thing::file(1_000_003);
    let web = Web::start(
        &thing.home(),
        |nth, _| if nth == 0 { Reply::Cut(100_001) } else { Reply::Serve },
    )
    .await;
    thing.completes_from(&web.url).await;
    let asked = web.asked();
    let (first, last) = asked[0].range.unwrap();
    let rest = Some((first + 100_001, last));
    assert!(asked.iter().any(|asked| asked.range == rest), "{asked:?}");
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed() {
    let thing = Thing::file(300_000);
    let web = Web::start(&thing.home(), |_, asked| {
        if asked.path.starts_with("/there") {
            Reply::Serve
        } else {
            Reply::status("302 Found", "Location: /there\r\n")
        }
    })
    .await;
    std::fs::copy(thing.home().join("a file.bin"), thing.home().join("there")).unwrap();
    thing.completes_from(&web.url).await;
}

#[tokio::test]
async fn a_query_may_not_lead_to_a_private_address() {
    let thing = Thing::file(300_000);
    let web = Web::good(&thing.home()).await;
    let url = format!("{}a%20file.bin?reboot=1", web.url);
    let status = thing.fails_with(&url, "loopback address").await;
    assert_eq!((status.state, web.asked().len()), (WebSeedState::Out, 0));
    assert!(!status.url.contains("reboot"), "queries may hold secrets");
}

#[tokio::test]
async fn the_download_limit_holds_for_web_seeds() {
    let thing = Thing::file(600_000);
    let web = Web::good(&thing.home()).await;
    let (session, handle) = thing.get(&[]).await;
    session.set_limits(RateLimits { download: Some(400_000), upload: None });
    handle.stop().await;
    let request = AddTorrent::new(thing.torrent.clone(), thing.dir.path().join("out"))
        .use_trackers(false)
        .web_seeds([web.url.clone()]);
    let began = std::time::Instant::now();
    let handle = session.add(request).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert!(began.elapsed() > Duration::from_millis(700), "{:?}", began.elapsed());
    session.shutdown().await;
}

#[tokio::test]
async fn peers_and_a_web_seed_share_the_work() {
    let thing = Thing::file(6_000_000);
    let web = Web::good(&thing.home()).await;
    let (seeding, addr) = seeder(&thing.torrent, &thing.home()).await;
    let (session, handle) = thing.get(&[&web.url]).await;
    handle.add_peers([addr]);
    within(handle.wait()).await.unwrap();
    thing.check();
    let stats = handle.stats();
    assert_eq!(stats.failed, 0);
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn explain_names_the_web_seed_its_error_and_what_to_do() {
    let thing = Thing::file(300_000);
    let web = Web::start(&thing.home(), |_, _| Reply::status("404 No", "")).await;
    let (session, handle) = thing.get(&[&web.url]).await;
    let said = sooner_or_later(async || {
        let explained = handle.explain().await;
        let first = explained.first().unwrap();
        (first.cause == engine::Cause::WebSeedsFail).then(|| format!("{:?}", first.evidence))
    });
    let said = said.await;
    for words in [&web.url, "none of the torrent's files", "check that the url leads to exactly"] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    session.shutdown().await;
}
