//! The manual: semantics, operations, formats and design, as pages of this documentation.
//!
//! The pages are the Markdown files in `src/manual/`. It holds no code; `tests/manual.rs` checks
//! that the pages name every command, option, errno, finding and table, and that each rule of
//! [`semantics`] is proved by a test.

pub mod semantics {
    #![doc = include_str!("manual/semantics.md")]
}

pub mod operations {
    #![doc = include_str!("manual/operations.md")]
}

pub mod formats {
    #![doc = include_str!("manual/formats.md")]
}

pub mod design {
    #![doc = include_str!("manual/design.md")]
}
