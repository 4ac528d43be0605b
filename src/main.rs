//! The `regfs` program: the command line's outcome as an exit code.

fn main() {
    std::process::exit(regfs::cli::run().number());
}
