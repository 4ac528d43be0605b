//! Where to store small blobs: writes blobs of each size durably to the index and to files, one at
//! a time, and reads them back. Run by `scripts/measure inline`.
//!
//! usage: inline DIRECTORY [BLOBS]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regfs::blobs::{Area, Blobs, DraftState, LocalBlobs, Vouched};
use regfs::digest::{Algorithm, Digest};
use regfs::dir::Dir;
use regfs::index::{Index, Recover, open_embedded};

type Failed = Box<dyn std::error::Error>;

/// Returns the median in microseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

fn bytes(number: u32, size: usize) -> (Vec<u8>, Digest) {
    let mut bytes = number.to_be_bytes().to_vec();
    let mut state = u64::from(number) + 1;
    while bytes.len() < size {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(size);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    (bytes, digest)
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().ok_or("usage: inline DIRECTORY [BLOBS]")?;
    let blobs: u32 = arguments.get(1).map_or(Ok(200), |text| text.parse())?;
    println!(
        "{:>8} {:>12} {:>12} {:>12} {:>12}",
        "bytes", "index us", "file us", "index read", "file read"
    );
    for kib in [1, 4, 8, 16, 32, 64, 128] {
        one(
            &Path::new(directory).join(kib.to_string()),
            kib << 10,
            blobs,
        )?;
    }
    Ok(())
}

fn one(store: &Path, size: usize, blobs: u32) -> Result<(), Failed> {
    std::fs::create_dir_all(store)?;
    let dir = Dir::open(store)?;
    let index = Index::new(Arc::new(open_embedded(&dir, Recover::Refuse)?));
    let files = LocalBlobs::open(&dir)?;
    let (mut inline, mut as_file, mut read_inline, mut read_file) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // In turns, so that both see the same load of the disk.
    for number in 0..blobs {
        let (content, digest) = bytes(number * 2, size);
        let begun = Instant::now();
        index.transact(|facts| facts.blobs().put_inline(&digest, &content, 1))?;
        index.sync()?;
        inline.push(begun.elapsed());
        let (content, digest) = bytes(number * 2 + 1, size);
        let begun = Instant::now();
        let draft = files.draft(u64::from(number), DraftState::New)?;
        draft.write_at(0, &content)?;
        let len = draft.publish(&digest, Vouched::default())?.len;
        index.transact(|facts| facts.blobs().put(&digest, len, 1))?;
        index.sync()?;
        as_file.push(begun.elapsed());
    }
    for number in 0..blobs {
        let (_, digest) = bytes(number * 2, size);
        let begun = Instant::now();
        let found = index.view().blobs().inline(&digest)?.ok_or("it is gone")?;
        read_inline.push(begun.elapsed());
        assert_eq!(found.len(), size);
        let (_, digest) = bytes(number * 2 + 1, size);
        let begun = Instant::now();
        let mut buffer = vec![0; size];
        files.open(Area::Live, &digest)?.read_at(0, &mut buffer)?;
        read_file.push(begun.elapsed());
    }
    println!(
        "{size:>8} {:>12.0} {:>12.0} {:>12.1} {:>12.1}",
        median(inline),
        median(as_file),
        median(read_inline),
        median(read_file)
    );
    Ok(())
}
