//! The `regfs` program: runs the command line and exits with its exit code.

fn main() {
    std::process::exit(regfs::cli::run().number());
}
