//! `cargo bench --bench peers`: hands over to the Python package beside it, which does all the work.
//!
//! It is a bench target so that one command finds it, and it is not in Rust so that nobody waits for a build to change a
//! peer's config. `cargo bench --bench peers -- --all` passes arguments on; `--help` shows them.

mod package;

fn main() -> std::io::Result<()> {
    Err(package::become_python("peers"))
}
