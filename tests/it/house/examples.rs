//! No code in the docs goes unread by the compiler.

use super::sources;

/// `./test` runs no doc tests: there are none, and to look for them costs as much as to document the crate. What is between
/// fences says that it is text; an example is a test, and stands with those.
#[test]
fn what_the_docs_of_an_item_quote_is_no_code() {
    let mut fences = 0;

    for file in sources() {
        let mut inside = false;
        for (number, line) in file.text.lines().enumerate() {
            let Some(kind) = fence(line) else { continue };
            if !inside {
                fences += 1;
                assert_eq!(kind, "text", "src/{}:{}: no test runs this", file.name, number + 1);
            }
            inside = !inside;
        }
    }

    assert!(fences > 20, "found only {fences} fences: the reader is broken");
}

/// What follows a fence in a doc comment.
fn fence(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    Some(comment.trim_start().strip_prefix("```")?.trim())
}
