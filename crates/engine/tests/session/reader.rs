//! Reading files while they arrive: what a reader gets, when it waits, and what ends it.

use std::io::{ErrorKind, SeekFrom};

use engine::metainfo::{CreateOptions, Torrent};
use engine::{AddTorrent, FileReader, FileServer, TorrentError};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{leecher, payload, seeder, session, single_file, within};

const PIECE: u32 = 64 * 1024;

async fn all(reader: &mut FileReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    within(reader.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

async fn some(reader: &mut FileReader, at: u64, count: usize) -> Vec<u8> {
    reader.seek(SeekFrom::Start(at)).await.unwrap();
    let mut bytes = vec![0; count];
    within(reader.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// Three files that share pieces, with an empty one among them.
fn tree(dir: &std::path::Path) -> (Torrent, Vec<(String, Vec<u8>)>) {
    let mut files = Vec::new();
    for (name, bytes) in [("a.bin", 100_000), ("b.mkv", 1_000_003), ("c.txt", 0), ("d.bin", 7)] {
        files.push((name.to_owned(), payload(bytes, bytes as u64)));
    }
    let folder = dir.join("tree");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, data) in &files {
        std::fs::write(folder.join(name), data).unwrap();
    }
    let options = CreateOptions { piece_length: Some(PIECE), ..CreateOptions::default() };
    let bytes = engine::create(&folder, &options, |_| {}, &false.into()).unwrap();
    (Torrent::parse(&bytes).unwrap(), files)
}

#[tokio::test]
async fn every_file_is_read_as_it_arrives_and_so_are_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (torrent, files) = tree(&dir.path().join("seed"));
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [addr]).await;
    // Before anything is there, and while the check is not over.
    let mut film = handle.reader(1).unwrap();
    let end = some(&mut film, 999_990, 13).await;
    assert_eq!(end, files[1].1[999_990..]);
    assert_eq!(some(&mut film, 65_530, 20).await, files[1].1[65_530..65_550]);
    for (number, (name, data)) in files.iter().enumerate() {
        let mut reader = handle.reader(number).unwrap();
        assert_eq!(reader.length(), data.len() as u64, "{name}");
        assert!(all(&mut reader).await == *data, "{name} differs");
    }
    film.seek(SeekFrom::End(-3)).await.unwrap();
    assert_eq!(all(&mut film).await, files[1].1[1_000_000..]);
    film.seek(SeekFrom::Start(5_000_000)).await.unwrap();
    assert_eq!(all(&mut film).await, b"", "past the end is the end");
    let before = film.seek(SeekFrom::End(-2_000_000)).await.unwrap_err();
    assert_eq!(before.kind(), ErrorKind::InvalidInput);
    assert!(matches!(handle.reader(4), Err(TorrentError::NoSuchFile { file: 4, count: 4 })));
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn several_readers_of_one_file_each_get_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(3_000_000, 5);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [addr]).await;
    let mut readers = Vec::new();
    for third in 0..3 {
        let mut reader = handle.reader(0).unwrap();
        let data = data.clone();
        readers.push(tokio::spawn(async move {
            reader.seek(SeekFrom::Start(third * 1_000_000)).await.unwrap();
            assert!(all(&mut reader).await == data[third as usize * 1_000_000..]);
        }));
    }
    for reader in readers {
        reader.await.unwrap();
    }
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn a_corrupt_block_never_reaches_the_reader() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(20 * PIECE as usize, 3);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
    let liar = crate::script::peer(|mut peer| {
        peer.shake_hands(false)?;
        peer.offer_everything(20)?;
        loop {
            let (piece, begin, length) = peer.next_request()?;
            peer.block(piece, begin, &vec![0x55; length as usize])?;
        }
    });
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [liar]).await;
    let mut reader = handle.reader(0).unwrap();
    let mut first = [0; 1000];
    let mut events = session.events();
    let banned = async {
        while let Some(event) = events.next().await {
            if matches!(event, engine::Event::PeerBanned { .. }) {
                return;
            }
        }
    };
    tokio::select! {
        read = reader.read(&mut first) => panic!("it gave what nobody proved: {read:?}"),
        () = within(banned) => {}
    }
    let (honest, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    handle.add_peers([addr]);
    assert!(all(&mut reader).await == data, "the reader got something else");
    session.shutdown().await;
    honest.shutdown().await;
}

#[tokio::test]
async fn a_reader_that_waits_hears_of_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(200_000, 3);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), []).await;
    let mut reader = handle.reader(0).unwrap();
    let waits = tokio::spawn(async move {
        let error = reader.read_u8().await.unwrap_err();
        (reader, error)
    });
    handle.checked().await.unwrap();
    handle.stop().await;
    let (mut reader, error) = within(waits).await.unwrap();
    assert!(error.to_string().contains("stopped"), "{error}");
    let again = within(reader.read_u8()).await.unwrap_err();
    assert!(again.to_string().contains("stopped"), "{again}");
    session.shutdown().await;
}

#[tokio::test]
async fn what_will_never_come_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(4 * PIECE as usize, 3);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
    let session = session().await;
    let request = AddTorrent::new(torrent.clone(), dir.path().join("out")).wanted(vec![1]);
    let handle = session.add(request.use_trackers(false)).await.unwrap();
    let mut reader = handle.reader(0).unwrap();
    let error = within(reader.read_u8()).await.unwrap_err();
    assert!(error.to_string().contains("piece 0"), "{error}");
    handle.stop().await;
    // Nor does what is damaged where nothing is downloaded; the rest is there all the same.
    let home = dir.path().join("seed");
    let rotten = [vec![0; PIECE as usize], data[PIECE as usize..].to_vec()].concat();
    std::fs::write(home.join("file.bin"), rotten).unwrap();
    let request = AddTorrent::new(torrent, home).seed_only(true).use_trackers(false);
    let handle = session.add(request).await.unwrap();
    let mut reader = handle.reader(0).unwrap();
    let error = within(reader.read_u8()).await.unwrap_err();
    assert!(error.to_string().contains("piece 0"), "{error}");
    assert_eq!(some(&mut reader, u64::from(PIECE), 9).await, data[PIECE as usize..][..9]);
    session.shutdown().await;
}

/// The status, the head and the body of one answer.
async fn ask(stream: &mut TcpStream, request: &str) -> (u16, String, Vec<u8>) {
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head[9..12].parse().unwrap();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let length = length.unwrap_or("0").parse().unwrap();
    let mut body = vec![0; if request.starts_with("HEAD") { 0 } else { length }];
    within(stream.read_exact(&mut body)).await.unwrap();
    (status, head, body)
}

#[tokio::test]
async fn the_file_server_answers_ranges_on_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (torrent, files) = tree(&dir.path().join("seed"));
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [addr]).await;
    let film = &files[1].1;
    let server = FileServer::bind("127.0.0.1:0".parse().unwrap(), &handle, 1).unwrap();
    let at = server.local_addr();
    assert_eq!(server.url(), format!("http://{at}/b.mkv"));
    let mut stream = TcpStream::connect(at).await.unwrap();
    let get = |range: &str| format!("GET /b.mkv HTTP/1.1\nHost: {at}\n{range}\n");
    for (range, status, part) in [
        ("Range: bytes=999000-\n", 206, 999_000..1_000_003),
        ("Range: bytes=65000-66000\n", 206, 65_000..66_001),
        ("Range: bytes=-10\n", 206, 999_993..1_000_003),
        ("Range: bytes=1-2,3-4\n", 200, 0..1_000_003),
        ("Range: bytes=5-6\nIf-Range: \"other\"\n", 200, 0..1_000_003),
        ("", 200, 0..1_000_003),
    ] {
        let (got, head, body) = ask(&mut stream, &get(range)).await;
        assert_eq!(got, status, "{range}");
        assert!(body == film[part.clone()], "{range}: {} bytes", body.len());
        assert!(head.contains("accept-ranges: bytes") && head.contains("video/x-matroska"));
        let range = format!("content-range: bytes {}-{}/1000003", part.start, part.end - 1);
        assert_eq!(head.contains(&range), status == 206, "{head}");
    }
    let (status, head, _) = ask(&mut stream, &get("Range: bytes=2000000-\n")).await;
    assert_eq!(status, 416);
    assert!(head.contains("content-range: bytes */1000003"), "{head}");
    let head_request = format!("HEAD / HTTP/1.1\nHost: localhost:{}\n\n", at.port());
    let (status, head, _) = ask(&mut stream, &head_request).await;
    assert!(status == 200 && head.contains("content-length: 1000003"), "{head}");
    for (request, wanted) in [
        (format!("GET /other HTTP/1.1\nHost: {at}\n\n"), 404),
        (format!("POST / HTTP/1.1\nHost: {at}\nContent-Length: 0\n\n"), 405),
        ("GET / HTTP/1.1\nHost: evil.example\n\n".into(), 421),
        ("GET / HTTP/1.1\n\n".into(), 421),
    ] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        assert_eq!(ask(&mut stream, &request).await.0, wanted, "{request}");
    }
    server.shutdown().await;
    assert!(TcpStream::connect(at).await.is_err(), "nobody listens any more");
    session.shutdown().await;
    seeding.shutdown().await;
}
