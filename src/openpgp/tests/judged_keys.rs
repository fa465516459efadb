//! Which keys may be used, and what is said of those that may not.

use std::time::Duration;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[track_caller]
fn said<T>(read: Result<T, KeyFileError>) -> String {
    match read {
        Ok(_) => panic!("the key was taken"),
        Err(error) => {
            assert!(error.help().is_some_and(|help| !help.is_empty()));
            let text = error.to_string();
            // A fingerprint is another each time.
            let is_print = |word: &str| word.len() == 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
            text.split(' ').map(|word| if is_print(word) { "KEY" } else { word }).collect::<Vec<_>>().join(" ")
        }
    }
}

fn for_encryption(file: &[u8]) -> Result<Vec<Recipient>, KeyFileError> {
    Recipient::read(file, now())
}

#[test]
fn a_file_that_has_no_key_is_told_apart() {
    let gpg = Gpg::with_key("future-default");
    let no_key = |what: &str| format!("this is no OpenPGP key: the file {what}");

    assert_eq!(said(for_encryption(b"")), no_key("is empty"));
    assert_eq!(said(for_encryption(b"hello")), no_key("has no `-----BEGIN PGP PUBLIC KEY BLOCK-----` or the like"));
    assert_eq!(said(for_encryption(&gpg.encrypt(&["--armor"], b"text"))), no_key("is an OpenPGP message"));
    assert_eq!(said(for_encryption(&gpg.encrypt(&[], b"text"))), no_key("is an OpenPGP message"));
    assert_eq!(said(for_encryption(b"-----BEGIN CERTIFICATE-----\nMIIB\n")), no_key("is an X.509 certificate"));
    assert_eq!(said(for_encryption(b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3\n")), no_key("is an SSH key"));
    let half = gpg.public();
    let damaged = "the OpenPGP key is damaged or of a kind that can't be read";
    assert_eq!(said(for_encryption(&half[..half.len() / 4])), damaged);
}

#[test]
fn private_and_public_keys_are_not_mistaken_for_each_other() {
    let gpg = Gpg::with_key("future-default");
    let private = |file: &[u8]| UnlockedKey::read(file, None, UnlockedKeyUse::Decrypt, now());

    assert_eq!(
        said(for_encryption(&gpg.private())),
        "this is a private key, where the public key of somebody else is expected"
    );
    assert_eq!(said(private(&gpg.public())), "this is a public key, where a private key is expected");
    assert_eq!(
        said(for_encryption(&gpg.run(&["--export-secret-keys"], b""))),
        "this is a private key, where the public key of somebody else is expected"
    );
    assert!(for_encryption(&gpg.run(&["--export"], b"")).is_ok());
    let two = [gpg.private(), gpg.private()].concat();
    assert_eq!(said(private(&two)), "2 private keys in this file, where one is expected");
}

#[test]
fn a_passphrase_is_wrong_missing_or_not_needed() {
    let gpg = Gpg::new();
    gpg.run(
        &["--passphrase", "open sesame", "--quick-gen-key", "Own <own@example.org>", "future-default", "default", "0"],
        b"",
    );
    let locked = gpg.run(&["--passphrase", "open sesame", "--armor", "--export-secret-keys"], b"");
    let read = |passphrase: Option<&str>| {
        UnlockedKey::read(&locked, passphrase.map(secret).as_ref(), UnlockedKeyUse::Decrypt, now())
    };

    assert_eq!(said(read(None)), "the private key is locked, and there is no passphrase");
    assert_eq!(said(read(Some("close sesame"))), "the passphrase is wrong");
    let key = read(Some("open sesame")).unwrap();
    let decryptor = Decryptor { keys: vec![Arc::new(key)], signers: Vec::new(), options: HELD_FIRST };
    let came = decrypted(&Arc::new(decryptor), &gpg.encrypt(&[], b"text"), 100);
    assert_eq!(came, (b"text".to_vec(), Ok(())));

    let open = Gpg::with_key("future-default").private();
    let given = UnlockedKey::read(&open, Some(&secret("open sesame")), UnlockedKeyUse::Decrypt, now());
    assert_eq!(said(given), "there is a passphrase, but the private key is not locked");
}

#[test]
fn a_key_whose_primary_part_is_kept_elsewhere_decrypts_all_the_same() {
    let gpg = Gpg::with_key("future-default");
    let without_primary = gpg.run(&["--armor", "--export-secret-subkeys"], b"");

    let came = decrypted(&Arc::new(decryptor(&without_primary)), &gpg.encrypt(&[], b"text"), 100);

    assert_eq!(came, (b"text".to_vec(), Ok(())));
    assert_eq!(
        said(UnlockedKey::read(&without_primary, None, UnlockedKeyUse::Sign, now())),
        "the key KEY has no private part to sign with in this file"
    );
}

#[test]
fn an_expired_key_is_refused_and_one_that_ends_soon_is_warned_of() {
    let gpg = Gpg::new();
    let key = ["--passphrase", "", "--quick-gen-key", "Own <own@example.org>", "future-default", "default", "20d"];
    gpg.run(&key, b"");
    let at = |days: u32| Recipient::read(&gpg.public(), now() + DAY * days);

    let soon = at(1).unwrap();
    let facts = soon[0].facts();
    assert_eq!(facts.user.as_deref(), Some("Own <own@example.org>"));
    assert!(facts.warnings[0].contains(" expires on "), "{facts:?}");
    assert!(facts.expires_at.is_some_and(|end| end > now() + DAY * 19 && end < now() + DAY * 21));
    let expired = said(at(21));
    assert!(expired.starts_with("the key KEY expired on "), "{expired}");
    // What holds now is what its owner has said last.
    let print = gpg.fingerprints()[0].clone();
    gpg.run(&["--quick-set-expire", &print, "2y"], b"");
    gpg.run(&["--quick-set-expire", &print, "2y", "*"], b"");
    assert_eq!(at(21).unwrap()[0].facts().warnings, [""; 0]);
}

#[test]
fn a_key_that_expires_while_it_is_in_use_encrypts_nothing_more() {
    let gpg = Gpg::new();
    let made = ["--faked-system-time", "20200101T000000", "--passphrase", ""];
    gpg.run(
        &[&made[..], &["--quick-gen-key", "Own <own@example.org>", "future-default", "default", "1y"]].concat(),
        b"",
    );
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_580_000_000);
    let recipients = Recipient::read(&gpg.public(), then).unwrap().into_iter().map(Arc::new).collect();
    let encryptor = Encryptor { recipients, sign_with: None, options: plain() };

    let came = read(TransformedBody::encrypted(Pieces::of(b"text", 9), Arc::new(encryptor), ThreadLane::Request));

    assert_eq!((came.0.len(), refused(&came)), (0, MessageErrorKind::Key));
}

/// A signature over the key that names somebody who may revoke it is the newest, and says nothing else.
#[test]
fn what_the_newest_signature_does_not_say_an_older_one_does() {
    let (gpg, revoker) = (Gpg::new(), Gpg::new());
    let key = ["--passphrase", "", "--quick-gen-key", "Own <own@example.org>", "future-default", "default", "20d"];
    gpg.run(&[&["--faked-system-time", "20260101T000000"], &key[..6], &["2y"]].concat(), b"");
    revoker.run(&["--passphrase", "", "--quick-gen-key", "Other <other@example.org>", "future-default"], b"");
    gpg.run(&["--import"], &revoker.public());
    let said_before = Recipient::read(&gpg.public(), now()).unwrap()[0].facts().clone();
    let print = gpg.fingerprints()[0].clone();
    let edited = ["--no-batch", "--no-tty", "--command-fd", "0", "--edit-key", &print, "addrevoker"];
    gpg.run(&edited, b"other@example.org\ny\nsave\n");
    assert!(String::from_utf8(gpg.run(&["--with-colons", "--list-keys", &print], b"")).unwrap().contains("\nrvk:"));

    let recipients = Recipient::read(&gpg.public(), now()).unwrap();

    assert!(said_before.expires_at.is_some());
    assert_eq!(*recipients[0].facts(), said_before);
    let after = said_before.expires_at.unwrap() + DAY;
    assert!(said(Recipient::read(&gpg.public(), after)).starts_with("the key KEY expired on "));
}

#[test]
fn a_revoked_key_is_refused() {
    let gpg = Gpg::with_key("future-default");
    let revocations = gpg.home.path().join("openpgp-revocs.d");
    let path = std::fs::read_dir(revocations).unwrap().next().unwrap().unwrap().path();
    // The file keeps a colon before it, so that nobody imports it by mistake.
    let revocation = std::fs::read_to_string(path).unwrap().replace("\n:-----", "\n-----");
    gpg.run(&["--import"], revocation.as_bytes());

    assert_eq!(said(for_encryption(&gpg.public())), "the key KEY has been revoked by its owner");
}

#[test]
fn a_key_that_is_bound_by_sha_1_is_refused() {
    let told = "the key KEY is bound by SHA-1 or an older digest, which can be forged";
    for kind in ["future-default", "rsa2048"] {
        let gpg = Gpg::new();
        gpg.make(kind, &["--cert-digest-algo", "SHA1"]);

        assert_eq!(said(for_encryption(&gpg.public())), told);
        assert_eq!(said(SignerKey::read(&gpg.public(), now())), told);
    }
}

#[test]
fn a_key_that_only_signs_is_not_encrypted_to() {
    let gpg = Gpg::new();
    gpg.run(&["--passphrase", "", "--quick-gen-key", "Own <own@example.org>", "ed25519", "sign", "0"], b"");

    assert_eq!(said(for_encryption(&gpg.public())), "the key KEY has no part that may be used to encrypt");
    assert!(SignerKey::read(&gpg.public(), now()).is_ok());
}

#[test]
fn a_key_of_elgamal_is_named() {
    let gpg = Gpg::new();
    let key = "%no-protection\nKey-Type: RSA\nKey-Length: 2048\nKey-Usage: sign\nSubkey-Type: ELG-E\nSubkey-Length: 1024\nName-Email: own@example.org\n%commit\n";
    gpg.run(&["--gen-key"], key.as_bytes());

    assert_eq!(
        said(Recipient::read(&gpg.public(), now())),
        "the key KEY encrypts with ElGamal, which is not spoken here"
    );
}

#[test]
fn a_short_rsa_key_is_warned_of() {
    let gpg = Gpg::with_key("rsa1024");

    let keys = for_encryption(&gpg.public()).unwrap();

    let warning = &keys[0].facts().warnings[0];
    assert!(warning.ends_with(" is RSA of 1024 bits, which is too few to be safe for long"), "{warning}");
}

#[test]
fn of_two_subkeys_the_newer_one_is_encrypted_to_and_either_decrypts() {
    let gpg = Gpg::new();
    gpg.make("future-default", &["--faked-system-time", "20240101T000000"]);
    let old = gpg.encrypt(&[], b"to the old one");
    let primary = gpg.fingerprints()[0].clone();
    gpg.run(&["--passphrase", "", "--quick-add-key", &primary, "cv25519", "encr", "0"], b"");
    let newest = gpg.fingerprints()[2].clone();

    let message = encrypted(encryptor(&gpg.public(), plain()), b"to the new one", 100);

    // The recipient's number is in the message (RFC 9580 §5.1).
    let number: String = message[3..11].iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(newest.ends_with(&number), "{number} and not {newest}");
    let both = Arc::new(decryptor(&gpg.private()));
    assert_eq!(decrypted(&both, &message, 100), (b"to the new one".to_vec(), Ok(())));
    assert_eq!(decrypted(&both, &old, 100), (b"to the old one".to_vec(), Ok(())));
}
