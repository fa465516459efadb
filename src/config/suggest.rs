//! "Did you mean": the nearest of the words that are known at a place.

use strsim::osa_distance;

/// The known word nearest to `typed`, if it is near enough to be meant.
pub(super) fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A third of the word may be wrong; a short word may have one slip.
    let most = (typed.chars().count() / 3).clamp(1, 3);
    let near = known.into_iter().map(|word| (distance(typed, word), word));
    near.filter(|&(slips, word)| slips <= most && slips < word.len())
        .min_by_key(|&(slips, _)| slips)
        .map(|(_, word)| word)
}

/// How many slips (a letter too many, missing, wrong, or two swapped) lie between two words, whatever their case.
pub(super) fn distance(left: &str, right: &str) -> usize {
    let plain = |word: &str| word.chars().take(LONGEST).flat_map(char::to_lowercase).collect::<String>();
    osa_distance(&plain(left), &plain(right))
}

/// No known word is longer; a longer one is near to none.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, expected: Option<&str>) {
        let known = ["client_secret", "client_id", "scope", "url", "tls"];
        assert_eq!(nearest(typed, known), expected, "{typed}");
    }

    #[test]
    fn a_slip_finds_the_word_that_was_meant() {
        check("client_secert", Some("client_secret"));
        check("clientsecret", Some("client_secret"));
        check("Scope", Some("scope"));
        check("ulr", Some("url"));
        check("tsl", Some("tls"));
    }

    #[test]
    fn a_different_word_finds_none() {
        check("password", None);
        check("x", None);
        check("", None);
    }
}
