//! Imports that are killed at any time and started again: the result equals an uninterrupted one.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::plain::Shape;
use super::site::{Site, regfs};
use super::store::must_be_clean;

/// Kills, unless the environment says how many.
const KILLS: u32 = 4;

const SHAPE: Shape = Shape {
    repositories: 40,
    tags: 20,
    layers: 5,
    pool: 300,
    layer_bytes: 20_000,
};

/// An import that was killed is resumed by the same command, with the same result.
#[test]
fn an_import_that_was_killed_goes_on_to_the_same_end() {
    let kills = std::env::var("REGFS_IMPORT_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let site = Site::with(&SHAPE);
    let begun = Instant::now();
    site.import(&[]);
    let whole = begun.elapsed();
    let mut finished = 0;
    for kill in 0..kills {
        std::fs::remove_dir_all(site.store()).unwrap();
        // Spread over most of the import, which takes less time with warm caches.
        let after = whole * 6 / 10 * (kill + 1) / kills;
        let mut command = regfs();
        command.arg("import").arg(site.plain()).arg(site.store());
        let mut import = command.stdout(Stdio::null()).spawn().unwrap();
        // A random time before the kill; this waits for no event.
        std::thread::park_timeout(after.max(Duration::from_millis(1)));
        finished += u32::from(import.try_wait().unwrap().is_some());
        import.kill().unwrap();
        import.wait().unwrap();
        site.import(&[]);
        must_be_clean(&site.store());
        let back = format!("back{kill}");
        site.export(&back, &[]);
        site.must_be_the_same("plain", &back);
        std::fs::remove_dir_all(site.top().join(back)).unwrap();
    }
    println!("{kills} imports killed, {finished} of them too late");
    assert!(
        finished < kills,
        "every import had ended before it was killed"
    );
}
