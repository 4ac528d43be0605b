//! Any bytes can be validated and read for references. The stored payload of an admitted document
//! is admitted too, with the same references.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regfs::manifest::parse_lenient;
use regfs::registry::{Policy, Schema1};

fuzz_target!(|document: &[u8]| {
    let policy = Policy {
        schema1: Schema1::Accept,
        ..Policy::default()
    };
    if let Ok(manifest) = policy.validate(document) {
        let payload = manifest.payload(document);
        assert!(policy.validate(payload).is_ok());
        let understood = parse_lenient(payload).expect("what is admitted is understood");
        assert_eq!(understood.references.len(), manifest.references().len());
    } else {
        let _understood = parse_lenient(document);
    }
});
