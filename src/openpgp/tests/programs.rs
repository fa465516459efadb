//! What others' programs make is read here, and what is made here they read.

use std::time::Duration;

use super::*;

/// A key of each kind that is about.
const KINDS: [&str; 2] = ["future-default", "rsa2048"];

fn every_option() -> Vec<EncryptorOptions> {
    let mut all = Vec::new();
    for armor in [false, true] {
        for compression in [Compression::None, Compression::Zip, Compression::Zlib] {
            for hide_recipients in [false, true] {
                all.push(EncryptorOptions { armor, compression, format: MessageFormat::Auto, hide_recipients });
            }
        }
    }
    all
}

#[test]
fn gpg_and_sq_read_what_is_made_here_without_a_word() {
    for kind in KINDS {
        let gpg = Gpg::with_key(kind);
        let private = file(gpg.home.path(), "own.asc", &gpg.private());
        for (options, length) in every_option().into_iter().zip([0, 1, 1000, 32 << 10, 300_000].into_iter().cycle()) {
            let plaintext = noise(length);

            let message = encrypted(encryptor(&gpg.public(), options), &plaintext, 7000);

            assert_eq!(message.starts_with(b"-----BEGIN PGP MESSAGE-----"), options.armor);
            assert!(gpg.run(&["--decrypt"], &message) == plaintext, "{kind} {options:?}");
            assert!(sq(&["decrypt", "--recipient-key", &private], &message) == plaintext, "{kind} {options:?}");
        }
    }
}

#[test]
fn what_gpg_makes_is_read() {
    let gpg = Gpg::with_key("future-default");
    let decryptor = Arc::new(decryptor(&gpg.private()));
    let ways: [&[&str]; 9] = [
        &[],
        &["--armor"],
        &["-z", "0"],
        &["--compress-algo", "zip"],
        &["--compress-algo", "zlib"],
        &["--cipher-algo", "AES128"],
        &["--cipher-algo", "TWOFISH"],
        &["--sign"],
        &["--throw-keyids", "--armor"],
    ];
    for way in ways {
        for length in [0, 1, 8191, 300_000] {
            let plaintext = noise(length);

            let came = decrypted(&decryptor, &gpg.encrypt(way, &plaintext), 5000);

            assert!(came == (plaintext, Ok(())), "{way:?} of {length}: {:?}", came.1);
        }
    }
}

#[test]
fn what_sq_makes_is_read_padding_and_all() {
    let gpg = Gpg::with_key("future-default");
    let decryptor = Arc::new(decryptor(&gpg.private()));
    let public = file(gpg.home.path(), "own.pub", &gpg.public());
    for compression in ["pad", "none", "zip", "zlib"] {
        for length in [0, 1000, 400_000] {
            let plaintext = noise(length);
            let message = sq(&["encrypt", "--compression", compression, "--recipient-cert", &public], &plaintext);

            let came = decrypted(&decryptor, &message, 5000);

            assert!(came == (plaintext, Ok(())), "{compression} of {length}: {:?}", came.1);
        }
    }
}

#[test]
fn a_compression_that_is_not_read_is_named() {
    let gpg = Gpg::with_key("future-default");
    let message = gpg.encrypt(&["--compress-algo", "bzip2"], &[b'a'; 10_000]);

    let came = decrypted(&Arc::new(decryptor(&gpg.private())), &message, 5000);

    assert_eq!(refused(&came), MessageErrorKind::Unsupported);
}

#[test]
fn every_recipient_reads_it_and_nobody_else() {
    let (one, other, stranger) =
        (Gpg::with_key("future-default"), Gpg::with_key("rsa2048"), Gpg::with_key("future-default"));
    let both = [one.public(), b"\n".to_vec(), other.public()].concat();

    let message = encrypted(encryptor(&both, plain()), b"for two", 3);

    assert_eq!(one.run(&["--decrypt"], &message), b"for two");
    assert_eq!(other.run(&["--decrypt"], &message), b"for two");
    let came = decrypted(&Arc::new(decryptor(&stranger.private())), &message, 100);
    assert_eq!((came.0.len(), refused(&came)), (0, MessageErrorKind::ForSomebodyElse));
}

#[test]
fn a_signature_made_here_is_good_for_gpg() {
    for kind in KINDS {
        let (partner, own) = (Gpg::with_key("future-default"), Gpg::with_key(kind));
        partner.run(&["--import"], &own.public());
        let sign_with = UnlockedKey::read(&own.private(), None, UnlockedKeyUse::Sign, now()).unwrap();
        let only_partner =
            partner.run(&["--armor", "--export-options", "export-minimal", "--export", &first(&partner)], b"");

        let encryptor = Encryptor { sign_with: Some(Arc::new(sign_with)), ..encryptor(&only_partner, plain()) };
        let message = encrypted(encryptor, b"signed", 100);

        let output = fed(partner.command(&["--status-fd", "2", "--decrypt"]), &message);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains("[GNUPG:] GOODSIG"), "{said}");
        assert_eq!(output.stdout, b"signed");
    }
}

/// The fingerprint of the first private key.
fn first(gpg: &Gpg) -> String {
    let listed = String::from_utf8(gpg.run(&["--with-colons", "--list-secret-keys"], b"")).unwrap();
    let line = listed.lines().find(|line| line.starts_with("fpr")).unwrap();
    line.split(':').nth(9).unwrap().to_owned()
}

#[test]
fn a_good_signature_of_one_signer_is_enough_and_none_is_too_few() {
    let (own, partner, stranger) = (Gpg::new(), Gpg::with_key("future-default"), Gpg::with_key("future-default"));
    own.make("future-default", &[]);
    let recipient = first(&own);
    for gpg in [&partner, &stranger] {
        gpg.run(&["--import"], &own.public());
    }
    let signers = |gpg: &[&Gpg]| {
        let of = |gpg: &&Gpg| {
            let only = gpg.run(&["--armor", "--export", &first(gpg)], b"");
            SignerKey::read(&only, now()).unwrap().into_iter().map(Arc::new).collect::<Vec<_>>()
        };
        let signers: Vec<_> = gpg.iter().flat_map(of).collect();
        Arc::new(Decryptor { signers, ..decryptor(&own.private()) })
    };
    let signed_by = |gpg: &Gpg| gpg.run(&["-u", &first(gpg), "-r", &recipient, "--sign", "--encrypt"], b"signed");
    let unsigned = partner.run(&["-r", &recipient, "--encrypt"], b"signed");

    let good = decrypted(&signers(&[&stranger, &partner]), &signed_by(&partner), 100);
    let by_another = decrypted(&signers(&[&partner]), &signed_by(&stranger), 100);
    let by_nobody = decrypted(&signers(&[&partner]), &unsigned, 100);

    assert_eq!(good, (b"signed".to_vec(), Ok(())));
    assert_eq!((by_another.0.len(), refused(&by_another)), (0, MessageErrorKind::Unsigned));
    assert_eq!((by_nobody.0.len(), refused(&by_nobody)), (0, MessageErrorKind::Unsigned));
}

#[test]
fn a_signature_is_good_for_as_long_as_it_and_its_key_say() {
    let (own, partner) = (Gpg::new(), Gpg::new());
    own.make("future-default", &["--faked-system-time", "20200101T000000"]);
    let long_ago = ["--faked-system-time", "20200101T000000", "--passphrase", ""];
    let make = ["--quick-gen-key", "Own <own@example.org>", "future-default", "default"];
    partner.run(&[&long_ago[..], &make, &["1y"]].concat(), b"");
    let lasting = Gpg::new();
    lasting.run(&[&long_ago[..], &make, &["0"]].concat(), b"");
    let recipient = first(&own);
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_580_000_000);
    let decryptor = |gpg: &Gpg| {
        let signers = SignerKey::read(&gpg.public(), then).unwrap().into_iter().map(Arc::new).collect();
        Arc::new(Decryptor { signers, ..super::decryptor(&own.private()) })
    };
    let signed_by = |gpg: &Gpg, more: &[&str]| {
        let (key, mut all) = (first(gpg), vec!["--faked-system-time", "20200102T000000"]);
        gpg.run(&["--import"], &own.public());
        all.extend_from_slice(more);
        all.extend(["-u", &key, "-r", &recipient, "--sign", "--encrypt"]);
        gpg.run(&all, b"signed")
    };

    let by_expired = decrypted(&decryptor(&partner), &signed_by(&partner, &[]), 100);
    let good = decrypted(&decryptor(&lasting), &signed_by(&lasting, &[]), 100);
    let for_a_day = decrypted(&decryptor(&lasting), &signed_by(&lasting, &["--default-sig-expire", "1d"]), 100);

    assert_eq!((by_expired.0.len(), refused(&by_expired)), (0, MessageErrorKind::Unsigned));
    assert_eq!(good, (b"signed".to_vec(), Ok(())));
    assert_eq!((for_a_day.0.len(), refused(&for_a_day)), (0, MessageErrorKind::Unsigned));
}

#[test]
fn version_2_goes_only_to_keys_that_say_that_they_read_it() {
    let gpg = Gpg::with_key("future-default");
    let of = |format| encrypted(encryptor(&gpg.public(), EncryptorOptions { format, ..plain() }), b"text", 10);
    let decryptor = Arc::new(decryptor(&gpg.private()));

    // The packet after the session key begins with its version.
    let version = |message: &[u8]| {
        let session_key = 2 + usize::from(message[1]);
        message[session_key + 2]
    };
    assert_eq!((version(&of(MessageFormat::Auto)), version(&of(MessageFormat::V2))), (1, 2));
    assert_eq!(decrypted(&decryptor, &of(MessageFormat::V2), 10), (b"text".to_vec(), Ok(())));
}
