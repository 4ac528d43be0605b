//! Any bytes are judged, and what is stored of an admitted document is admitted too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regfs::registry::{Policy, Schema1, judge};

fuzz_target!(|document: &[u8]| {
    let policy = Policy {
        schema1: Schema1::Accept,
        ..Policy::default()
    };
    if let Ok(manifest) = judge(document, &policy) {
        assert!(judge(manifest.payload(document), &policy).is_ok());
    }
});
