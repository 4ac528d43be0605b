//! Opening a store after a crash: the time to open it with many links in the index and a full
//! journal, and the bytes per link. Run by `scripts/measure start`. With a third argument `bytes`
//! the targets of the links exist too, so that fsck finds no faults.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use regfs::digest::{Algorithm, Digest};
use regfs::dir::Dir;
use regfs::index::{
    Index, IndexError, Link, Recover, RepositoryDirectories, StoreError, open_embedded,
};
use regfs::name::LinkSet;

/// Links per transaction.
const AT_ONCE: u32 = 60;
/// Links per repository.
const REPOSITORY: u32 = 1_000;

fn open(store: &Path) -> Result<Index, IndexError> {
    let system = |error| StoreError::System(Arc::new(error));
    let dir = Dir::open(store).map_err(system)?;
    Ok(Index::new(Arc::new(open_embedded(&dir, Recover::Refuse)?)))
}

/// Returns the digest of a link; ten repositories link each digest.
fn digest(number: u32, links: u32) -> Digest {
    let blob = number % (links / 10).max(1);
    Digest::of(Algorithm::Sha256, &blob.to_be_bytes())
}

/// Creates the links, and aborts the process, as a crash would.
fn fill(store: &Path, links: u32, bytes: bool) -> Result<(), IndexError> {
    let index = open(store)?;
    for first in (0..links).step_by(AT_ONCE as usize) {
        index.transact(|facts| {
            for number in first..(first + AT_ONCE).min(links) {
                let name = format!("team{}/app{}", number / 100_000, number / REPOSITORY);
                let Ok(name) = name.parse() else { continue };
                facts
                    .repositories()
                    .put(&name, RepositoryDirectories::LAYERS)?;
                let Some(repository) = facts.repositories().get(&name)? else {
                    continue;
                };
                let digest = digest(number, links);
                if bytes && number < links / 10 {
                    facts
                        .blobs()
                        .put_inline(&digest, &number.to_be_bytes(), 1_700_000_000)?;
                }
                let link = Link::Linked {
                    target: digest,
                    pushed: 1_700_000_000,
                };
                facts
                    .links()
                    .put(repository.id, &LinkSet::Layers, &digest, &link)?;
            }
            Ok::<_, IndexError>(())
        })?;
    }
    index.sync()?;
    std::process::abort();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u32>().ok());
    if let ([word, store, ..], Some(links)) = (arguments.as_slice(), number(2))
        && word == "fill"
    {
        let bytes = arguments.get(3).is_some_and(|word| word == "bytes");
        return Ok(fill(Path::new(store), links, bytes)?);
    }
    let (Some(store), Some(links)) = (arguments.first(), number(1)) else {
        eprintln!("usage: start STORE LINKS");
        std::process::exit(2);
    };
    std::fs::create_dir_all(store)?;
    let start = Instant::now();
    let mut fill = Command::new(std::env::current_exe()?);
    fill.args(["fill", store, &links.to_string()]);
    let ended = fill.args(arguments.get(2)).status()?;
    println!(
        "made {links} links in {:.0?} and died: {ended}",
        start.elapsed()
    );
    let start = Instant::now();
    let index = open(Path::new(store))?;
    let opened = start.elapsed();
    let last = digest(links - 1, links);
    let name = format!(
        "team{}/app{}",
        (links - 1) / 100_000,
        (links - 1) / REPOSITORY
    );
    let mut view = index.view();
    let repository = view
        .repositories()
        .get(&name.parse()?)?
        .ok_or("no repository")?;
    let found = view.links().get(repository.id, &LinkSet::Layers, &last)?;
    println!(
        "open after {opened:.1?}; the last link is there: {}",
        found.is_some()
    );
    let status = std::fs::read_to_string("/proc/self/status")?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|text| text.trim().split(' ').next()?.parse::<u64>().ok());
    println!("memory: {} MiB", memory.unwrap_or_default() / 1024);
    let copy = Path::new(store).join("copy.redb");
    index.copy(&Dir::open(Path::new(store))?, "copy.redb")?;
    println!(
        "copied whole: {} bytes a link",
        std::fs::metadata(&copy)?.len() / u64::from(links)
    );
    std::fs::remove_file(&copy)?;
    drop(index);
    let size = std::fs::metadata(Path::new(store).join("index.redb"))?.len();
    println!(
        "index: {size} bytes, {} a link, digests and repositories included",
        size / u64::from(links)
    );
    Ok(())
}
