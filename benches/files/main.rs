//! `cargo bench --bench files`: hands over to the Python package beside it. `cargo bench --bench files -- --help` shows what
//! it takes.

#[path = "../peers/package.rs"]
mod package;

fn main() -> std::io::Result<()> {
    Err(package::become_python("files"))
}
