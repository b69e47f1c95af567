//! The limits of a server, each reached.

use super::client::{Running, connect, exchange, frog, read, request};
use super::photo;
use image::{DynamicImage, GrayImage, ImageFormat};
use miyasawa::image::Image;
use miyasawa_serve::{Config, Limits, Models, ServeError, Server};
use std::io::Write;
use std::time::{Duration, Instant};

/// A small file of many pixels.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let grey = DynamicImage::ImageLuma8(GrayImage::new(width, height));
    let mut bytes = std::io::Cursor::new(Vec::new());
    grey.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// An image that takes some seconds to denoise.
fn large() -> Vec<u8> {
    photo(1100, 900).with_noise(0.1, 5).unwrap().to_png().unwrap()
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    let server = super::client::shared();
    let bomb = bomb(10_000, 10_000);
    assert!(bomb.len() < 1 << 20);
    for path in ["/v1/classify", "/v1/denoise", "/v1/explain?class=0"] {
        let found = server.refusal(path, &bomb);
        assert_eq!((found.0, &found.1[..]), (413, "pixels"), "{}", found.2);
        assert!(found.2.contains("at most 16000000 pixels, found one of 10000x10000"), "{found:?}");
    }
    // All images of an animation count.
    let frame = image::Frame::new(image::RgbaImage::new(1500, 1500));
    let mut gif = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new_with_speed(&mut gif, 30);
    encoder.encode_frames(vec![frame; 8]).unwrap();
    drop(encoder);
    let found = server.refusal("/v1/denoise", &gif);
    assert_eq!((found.0, &found.1[..]), (413, "pixels"), "{}", found.2);
    assert!(found.2.contains("18000000 pixels together"), "{}", found.2);
    // Of these one is enough.
    assert_eq!(server.post("/v1/classify", &gif).status, 200);
}

#[test]
fn a_body_is_bounded() {
    let server = Running::with(Limits { body: 100_000, ..Limits::default() });
    let found = server.refusal("/v1/classify", &vec![0; 100_001]);
    assert_eq!((found.0, &found.1[..]), (413, "body_size"));
    // Without a declared length; the client reads the answer although it sends more.
    let mut stream = connect(server.address);
    let head =
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..20 {
        let chunk = [&b"2000\r\n"[..], &[7; 0x2000], b"\r\n"].concat();
        stream.write_all(&chunk).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read(stream).refusal().1, "body_size");
    assert_eq!(server.post("/v1/classify", &frog()).status, 200);
}

#[test]
fn slow_senders_are_given_up() {
    let timeout = Duration::from_millis(1500);
    let server = Running::with(Limits { timeout, ..Limits::default() });
    // A body that does not come.
    let all = request("POST", "/v1/classify", &[], &frog());
    let mut stream = connect(server.address);
    stream.write_all(&all[..all.len() - 100]).unwrap();
    let (began, found) = (Instant::now(), read(stream).refusal());
    assert_eq!((found.0, &found.1[..]), (408, "slow"), "{}", found.2);
    assert!(began.elapsed() < Duration::from_secs(8));
    // A body that ends early.
    let mut stream = connect(server.address);
    stream.write_all(&all[..all.len() - 100]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut nothing = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut nothing);
    // A header that does not come: the connection ends, with or without a word.
    let mut stream = connect(server.address);
    stream.write_all(b"POST /v1/classify HTTP/1.1\r\nHost: loc").unwrap();
    let began = Instant::now();
    let _ = std::io::Read::read_to_end(&mut stream, &mut nothing);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    // Many of them at once hold up nobody for long.
    let slow: Vec<_> = (0..300).map(|_| connect(server.address)).collect();
    for mut stream in &slow {
        stream.write_all(&all[..50]).unwrap();
    }
    assert_eq!(exchange(server.address, &all).status, 200);
}

#[test]
fn a_full_queue_refuses_with_429_and_nothing_is_lost() {
    let server = Running::with(Limits { queue: 2, ..Limits::default() });
    let (large, frog) = (large(), frog());
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.post("/v1/denoise?sigma=0.1", &large).status);
        // Computed as soon as nothing waits and something was taken.
        while server.metric("miyasawa_batch_images_count") < 1.0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let ask = || server.post("/v1/classify", &frog);
        let more: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        let found: Vec<_> = more.into_iter().map(|one| one.join().unwrap()).collect();
        let refused: Vec<_> = found.iter().filter(|found| found.status == 429).collect();
        let served = found.iter().filter(|found| found.status == 200).count();
        assert_eq!((refused.len(), served), (10, 2), "those that were not refused have a result");
        assert!(refused.iter().all(|found| found.headers["retry-after"] == "1"));
        assert_eq!(refused[0].refusal().1, "busy");
        assert_eq!(first.join().unwrap(), 200);
    });
    assert_eq!(server.post("/v1/classify", &frog).status, 200);
}

#[test]
fn the_memory_for_bodies_is_bounded() {
    let limits = Limits { body: 1 << 20, memory: 1 << 20, ..Limits::default() };
    let server = Running::with(limits);
    let body = vec![7; 900_000];
    let mut slow = connect(server.address);
    let all = request("POST", "/v1/classify", &[], &body);
    slow.write_all(&all[..all.len() - 10]).unwrap();
    while server.metric("miyasawa_received_bytes_total") < 899_000.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let found = server.refusal("/v1/classify", &body);
    assert_eq!((found.0, &found.1[..]), (429, "busy"), "{}", found.2);
    slow.write_all(&all[all.len() - 10..]).unwrap();
    assert_eq!(read(slow).status, 415);
    assert_eq!(server.refusal("/v1/classify", &body).0, 415);
}

#[test]
fn work_that_takes_too_long_is_given_up() {
    let timeout = Duration::from_millis(400);
    let server = Running::with(Limits { timeout, ..Limits::default() });
    let (large, began) = (photo(2500, 2000).to_png().unwrap(), Instant::now());
    let found = server.post("/v1/denoise?sigma=0.1", &large);
    assert_eq!(found.headers["retry-after"], "1");
    let found = found.refusal();
    assert_eq!((found.0, &found.1[..]), (503, "timed_out"), "{}", found.2);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // It stops at the next tile, and the next request has its turn.
    let next = || server.post("/v1/classify", &frog()).status;
    let until = Instant::now() + Duration::from_secs(20);
    while next() != 200 {
        assert!(Instant::now() < until, "the server still computes");
    }
}

#[test]
fn what_runs_is_finished_when_the_server_stops() {
    let mut server = Running::start(Config::default());
    let (address, stopper) = (server.address, server.stopper.clone());
    let (large, frog) = (large(), frog());
    // A connection that asks for nothing holds nobody up.
    let _idle = connect(address);
    let post = |path: &str, body: &[u8]| exchange(address, &request("POST", path, &[], body));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| post("/v1/denoise?sigma=0.1", &large));
        while server.metric("miyasawa_batch_images_count") < 1.0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let second = scope.spawn(|| post("/v1/classify", &frog));
        while server.metric("miyasawa_queue_requests") < 1.0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        stopper.stop();
        let found = first.join().unwrap();
        assert_eq!(found.status, 200);
        assert_eq!(Image::decode(&found.body).unwrap().shape(), (3, 900, 1100));
        assert_eq!(second.join().unwrap().status, 200);
    });
    let began = Instant::now();
    server.join();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn requests_that_wait_together_are_computed_together() {
    let server = Running::with(Limits { queue: 64, batch: 16, ..Limits::default() });
    let (large, frog) = (large(), frog());
    let alone = server.document("/v1/classify", &frog);
    let noisy = photo(40, 32).with_noise(0.1, 3).unwrap().to_png().unwrap();
    let denoised = Image::decode(&server.post("/v1/denoise?sigma=0.1", &noisy).body).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.post("/v1/denoise?sigma=0.1", &large).status);
        while server.metric("miyasawa_batch_images_count") < 3.0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let classify = || server.document("/v1/classify", &frog);
        let denoise = || server.post("/v1/denoise?sigma=0.1", &noisy);
        let classes: Vec<_> = (0..16).map(|_| scope.spawn(classify)).collect();
        let images: Vec<_> = (0..8).map(|_| scope.spawn(denoise)).collect();
        // One at fault among them does not harm the others.
        let broken = scope.spawn(|| server.refusal("/v1/denoise?sigma=0.1", &broken(&noisy)));
        for one in classes {
            let found = one.join().unwrap();
            let best = |found: &serde_json::Value| {
                let best = &found["classes"][0];
                (best["class"].clone(), best["probability"].as_f64().unwrap())
            };
            let (a, b) = (best(&found), best(&alone));
            assert_eq!(a.0, b.0);
            assert!((a.1 - b.1).abs() < 1e-4, "{found} {alone}");
        }
        for one in images {
            let found = Image::decode(&one.join().unwrap().body).unwrap();
            let pairs = found.values().iter().zip(denoised.values());
            // Rounded to 8 bits: one step apart at most.
            assert!(pairs.map(|(a, b)| (a - b).abs()).all(|d| d < 0.009));
        }
        assert_eq!(broken.join().unwrap().1, "damaged");
        assert_eq!(first.join().unwrap(), 200);
    });
    let batches = server.metric("miyasawa_batch_images_count");
    let images = server.metric("miyasawa_batch_images_sum");
    assert_eq!(images, 28.0);
    assert!(batches < 12.0, "{batches} batches of {images} images");
}

/// A PNG whose header is right and whose pixels end too early.
fn broken(png: &[u8]) -> Vec<u8> {
    png[..png.len() - png.len() / 3].to_vec()
}

#[test]
fn nothing_is_bound_beyond_loopback_without_leave() {
    let bind = "0.0.0.0:0".parse().unwrap();
    let bound = Server::bind(Config { bind, ..Config::default() }, Models::bundled().unwrap());
    let error = bound.err().unwrap();
    assert!(matches!(error, ServeError::NotPublic { .. }) && error.is_usage(), "{error}");
    let public = Config { bind, public: true, ..Config::default() };
    let server = Server::bind(public, Models::bundled().unwrap()).unwrap();
    let error = Server::bind(
        Config { bind: server.address(), public: true, ..Config::default() },
        Models::bundled().unwrap(),
    );
    assert!(matches!(error.err(), Some(ServeError::Bind { .. })));
    let none = Server::bind(Config::default(), Models::new()).err().unwrap();
    assert_eq!(none.to_string(), "no model, expected one or more models of different names");
}
