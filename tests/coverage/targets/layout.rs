//! Any path is a node of the layout, and then shown as the same path, or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regfs::layout::Node;

fuzz_target!(|path: &str| {
    if let Some(node) = Node::parse(path) {
        assert_eq!(node.to_string(), path);
        if let Some(parent) = node.parent() {
            assert_eq!(parent.child(&node.name()), Some(node));
        }
    }
});
