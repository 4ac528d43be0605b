//! Writes a plain tree of a given size, for `scripts/measure adoption`.
//!
//! usage: adoption DIRECTORY SCALE     (1,000 repositories, 100,000 tags, about 1,000,000 links
//! at scale 1)
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    dead_code,
    reason = "a generator that cannot go on must fail"
)]

use std::path::Path;

#[path = "../adoption/plain.rs"]
mod plain;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().expect("a directory");
    let scale: f64 = arguments.get(1).map_or(1.0, |text| text.parse().unwrap());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let repositories = (1000.0 * scale) as usize;
    let shape = plain::Shape {
        repositories,
        tags: 100,
        layers: 7,
        pool: 20_000,
        layer_bytes: 64,
    };
    plain::write(Path::new(directory), &shape);
}
