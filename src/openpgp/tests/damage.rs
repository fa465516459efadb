//! What is wrong with a message is an error, and never an end as if it were whole.

use proptest::prelude::*;

use super::*;

fn messages(gpg: &Gpg, plaintext: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let v2 = EncryptorOptions { format: MessageFormat::V2, ..plain() };
    let packed = EncryptorOptions { compression: Compression::Zlib, armor: true, ..plain() };
    vec![
        ("of gpg's", gpg.encrypt(&[], plaintext)),
        ("of gpg's, in armor", gpg.encrypt(&["--armor"], plaintext)),
        ("of ours", encrypted(encryptor(&gpg.public(), plain()), plaintext, 5000)),
        ("of ours, packed, in armor", encrypted(encryptor(&gpg.public(), packed), plaintext, 5000)),
        ("of ours, version 2", encrypted(encryptor(&gpg.public(), v2), plaintext, 5000)),
    ]
}

/// With and without room to check it first.
fn decryptors(gpg: &Gpg) -> [Arc<Decryptor>; 2] {
    let streaming = DecryptorOptions { check_first: 0, ..HELD_FIRST };
    let private = gpg.private();
    [Arc::new(decryptor(&private)), Arc::new(Decryptor { options: streaming, ..decryptor(&private) })]
}

#[test]
fn no_flipped_bit_ends_as_if_the_message_were_whole() {
    let gpg = Gpg::with_key("future-default");
    let plaintext = noise(20_000);
    for (what, message) in messages(&gpg, &plaintext) {
        for decryptor in &decryptors(&gpg) {
            assert_eq!(decrypted(decryptor, &message, 4000).1, Ok(()), "{what}");
            for place in (0..100).map(|part| part * (message.len() - 1) / 99) {
                let mut changed = message.clone();
                changed[place] ^= 1 << (place % 7);

                let (came, end) = decrypted(decryptor, &changed, 4000);

                // What carries no meaning (the checksum of armor, a header's version) may change without a word; the
                // plaintext may not.
                assert!(end.is_err() || came == plaintext, "{what}, changed at {place} of {}", message.len());
                if decryptor.options.check_first > 0 && !what.ends_with("version 2") {
                    assert!(end.is_ok() || came.is_empty(), "{what}: {} bytes came before the check", came.len());
                }
            }
        }
    }
}

#[test]
fn a_cut_message_is_an_error_wherever_it_is_cut() {
    let gpg = Gpg::with_key("future-default");
    for (what, message) in messages(&gpg, &noise(3000)) {
        let message = message.trim_ascii_end();
        for decryptor in &decryptors(&gpg) {
            for length in (0..message.len()).step_by(37).chain([message.len() - 1]) {
                let came = decrypted(decryptor, &message[..length], 1000);

                assert!(came.1.is_err(), "{what}, cut at {length} of {}", message.len());
            }
        }
    }
}

#[test]
fn a_body_that_breaks_off_is_told_as_that() {
    let gpg = Gpg::with_key("future-default");
    for (_, message) in messages(&gpg, &noise(3000)) {
        for decryptor in decryptors(&gpg) {
            let mut pieces = Pieces::of(&message, 100);
            pieces.0.push_back(Err("gone"));

            let came = read(TransformedBody::decrypted(pieces, decryptor, no_bound(), ThreadLane::Answer));

            assert_eq!(came.1, Err(TransformError::Input("gone")));
        }
    }
    let mut pieces = Pieces::of(b"half of it", 3);
    pieces.0.push_back(Err("gone"));

    let came =
        read(TransformedBody::encrypted(pieces, Arc::new(encryptor(&gpg.public(), plain())), ThreadLane::Request));

    assert_eq!(came.1, Err(TransformError::Input("gone")));
}

#[test]
fn white_space_may_follow_a_message_and_nothing_else() {
    let gpg = Gpg::with_key("future-default");
    let plaintext = noise(3000);
    for (what, message) in messages(&gpg, &plaintext) {
        for decryptor in &decryptors(&gpg) {
            let followed_by = |tail: &[u8]| decrypted(decryptor, &[&message, tail].concat(), 1000);

            assert_eq!(followed_by(b"\r\n \t\n"), (plaintext.clone(), Ok(())), "{what}");
            for tail in [&b"\nmore"[..], b"\0", &message] {
                let came = followed_by(tail);
                assert!(came.1.is_err(), "{what}: {:?} was taken", String::from_utf8_lossy(tail));
            }
        }
    }
}

#[test]
fn what_is_no_encrypted_message_is_told_as_that() {
    let gpg = Gpg::with_key("future-default");
    let decryptor = Arc::new(decryptor(&gpg.private()));
    let kinds = [
        (Vec::new(), "the body is empty: there is no OpenPGP message"),
        (
            b"{\"error\":\"no such file\"}".to_vec(),
            "this is no OpenPGP message: it begins neither as a binary one nor with `-----BEGIN PGP MESSAGE-----`",
        ),
        (gpg.run(&["--sign"], b"text"), "this OpenPGP message is not encrypted"),
        (gpg.run(&["--export"], b""), "this is an OpenPGP key and no message"),
    ];
    for (body, told) in kinds {
        let came = decrypted(&decryptor, &body, 100);

        let Err(TransformError::Message(error)) = &came.1 else { panic!("{came:?}") };
        assert_eq!((error.kind, error.to_string()), (MessageErrorKind::NoMessage, told.to_owned()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn how_a_body_is_cut_into_pieces_changes_nothing(
        length in 0usize..200_000,
        first in 1usize..9000,
        second in 1usize..9000,
        armor: bool,
        packed: bool,
        is_v2: bool,
    ) {
        let gpg = Gpg::with_key("future-default");
        let compression = if packed { Compression::Zip } else { Compression::None };
        let format = if is_v2 { MessageFormat::V2 } else { MessageFormat::V1 };
        let options = EncryptorOptions { armor, compression, format, hide_recipients: false };
        let plaintext = noise(length);

        let message = encrypted(encryptor(&gpg.public(), options), &plaintext, first);
        let came = decrypted(&Arc::new(decryptor(&gpg.private())), &message, second);

        prop_assert!(came == (plaintext, Ok(())));
    }
}
