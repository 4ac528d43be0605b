//! Any path is either no node of the layout, or a node that is displayed as the same path.
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
