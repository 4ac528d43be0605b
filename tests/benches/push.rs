//! Pushes and pulls of small images through a registry: rate and latency. Prints one line of JSON.
//! Run by `scripts/measure push`.

use support::http;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use regfs::digest::{Algorithm, Digest};

/// Layers of an image, and bytes of a layer: a little more than fits in the index.
const LAYERS: u64 = 5;
const LAYER_BYTES: usize = 20_000;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Returns pseudo-random bytes, different for each number.
fn bytes(number: u64, len: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(len)
    .collect()
}

fn send(port: u16, method: &str, path: &str, kind: &str, body: &[u8]) -> Option<http::Answer> {
    let headers = [("Content-Type", kind), ("Accept", MANIFEST)];
    let answer = http::request(port, method, path, &headers, body)?;
    (answer.status < 300).then_some(answer)
}

/// Uploads a blob in one request. Returns its descriptor.
fn blob(port: u16, repository: &str, kind: &str, body: &[u8]) -> Option<String> {
    let digest = Digest::of(Algorithm::Sha256, body);
    let begun = send(
        port,
        "POST",
        &format!("/v2/{repository}/blobs/uploads/"),
        "",
        b"",
    )?;
    let place = begun.header("Location")?;
    let place = place.find("/v2/").and_then(|at| place.get(at..))?;
    let octets = "application/octet-stream";
    send(
        port,
        "PUT",
        &format!("{place}&digest={digest}"),
        octets,
        body,
    )?;
    let size = body.len();
    Some(format!(
        r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#
    ))
}

/// Pushes a unique image. Returns its path.
fn push(port: u16, repository: &str, start: u64) -> Option<String> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed) + start;
    let config = format!(r#"{{"os":"linux","architecture":"amd64","created":"{number}"}}"#);
    let kind = "application/vnd.oci.image.config.v1+json";
    let config = blob(port, repository, kind, config.as_bytes())?;
    let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layers: Option<Vec<String>> = (0..LAYERS)
        .map(|layer| {
            blob(
                port,
                repository,
                kind,
                &bytes(number * LAYERS + layer, LAYER_BYTES),
            )
        })
        .collect();
    let layers = layers?.join(",");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layers}]}}"#
    );
    let path = format!("/v2/{repository}/manifests/v{number}");
    send(port, "PUT", &path, MANIFEST, manifest.as_bytes())?;
    Some(path)
}

/// Pulls an image: its manifest and every blob.
fn pull(port: u16, path: &str) -> Option<()> {
    let manifest = send(port, "GET", path, "", b"")?;
    let text = String::from_utf8(manifest.body).ok()?;
    let repository = path.split("/manifests/").next()?;
    for part in text.split(r#""digest":""#).skip(1) {
        let digest = part.split('"').next()?;
        send(
            port,
            "GET",
            &format!("{repository}/blobs/{digest}"),
            "",
            b"",
        )?;
    }
    Some(())
}

/// Runs clients in parallel until the time is up, each as often as possible.
fn measure(
    clients: usize,
    seconds: f64,
    one: impl Fn(usize, usize) -> Option<()> + Sync,
) -> String {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let start = Instant::now();
    let (mut times, mut failed) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let one = &one;
                scope.spawn(move || {
                    let (mut times, mut failed) = (Vec::new(), 0);
                    while Instant::now() < until {
                        let begun = Instant::now();
                        match one(client, times.len()) {
                            Some(()) => times.push(begun.elapsed().as_secs_f64() * 1e3),
                            None => failed += 1,
                        }
                    }
                    (times, failed)
                })
            })
            .collect();
        for thread in threads {
            if let Ok((theirs, missed)) = thread.join() {
                times.extend(theirs);
                failed += missed;
            }
        }
    });
    let elapsed = start.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(0.0);
    let count = f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX));
    format!(
        r#"{{"rate":{:.2},"p50_ms":{:.2},"p99_ms":{:.2},"failed":{failed}}}"#,
        count / elapsed,
        at(50),
        at(99)
    )
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(port), Some(clients), Some(seconds), Some(start)) =
        (number(0), number(1), number(2), number(3))
    else {
        eprintln!("usage: push PORT CLIENTS SECONDS FIRST_NUMBER");
        std::process::exit(2);
    };
    let port = u16::try_from(port).unwrap_or_default();
    let clients = usize::try_from(clients).unwrap_or(1);
    let seconds = f64::from(u32::try_from(seconds).unwrap_or(1));
    let images = parking_lot::Mutex::new(Vec::new());
    let pushes = measure(clients, seconds, |client, _| {
        let path = push(port, &format!("team/app{client}"), start)?;
        images.lock().push(path);
        Some(())
    });
    let images = images.into_inner();
    let pulls = measure(clients, seconds, |client, done| {
        let at = (client * 7919 + done) % images.len().max(1);
        pull(port, images.get(at)?)
    });
    println!(r#"{{"push":{pushes},"pull":{pulls}}}"#);
}
