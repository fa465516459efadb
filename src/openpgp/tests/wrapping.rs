//! Packets in packets, and around them: what says nothing takes no memory and no end of time.

use std::io::Read;

use flate2::Compression as Level;
use flate2::write::DeflateEncoder;
use pgp::composed::RawSessionKey;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::PacketTrait;

use super::framing::{FramingProgress, PacketFraming};
use super::seipd_v1::SeipdV1Writer;
use super::*;

const MARKER: u8 = 10;
const PADDING: u8 = 21;
const PRIVATE: u8 = 60;
const COMPRESSED: u8 = 8;

struct Partner {
    decryptor: Arc<Decryptor>,
    session: Vec<u8>,
}

const KEY: [u8; 32] = [3; 32];

impl Partner {
    fn new() -> Self {
        let gpg = Gpg::with_key("future-default");
        let recipient = Recipient::read(&gpg.public(), now()).unwrap().remove(0);
        let key = RawSessionKey::from(&KEY[..]);
        let mut session = Vec::new();
        let packet = recipient.session_key(SymmetricKeyAlgorithm::AES256, &key, false).unwrap();
        packet.to_writer_with_header(&mut session).unwrap();
        Self { decryptor: Arc::new(decryptor(&gpg.private())), session }
    }

    /// A message with these packets inside.
    fn message(&self, inside: &[u8]) -> Vec<u8> {
        let mut message = self.session.clone();
        let mut writer = SeipdV1Writer::new(&KEY, &mut message);
        writer.write_all(inside).unwrap();
        writer.finish().unwrap();
        message
    }

    #[track_caller]
    fn read(&self, inside: &[u8]) -> Came {
        decrypted(&self.decryptor, &self.message(inside), 10_000)
    }
}

fn deflated(packets: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(vec![1], Level::best());
    encoder.write_all(packets).unwrap();
    packet(COMPRESSED, &encoder.finish().unwrap())
}

#[test]
fn what_says_nothing_stands_anywhere_and_is_never_handed_on() {
    let partner = Partner::new();
    let silent = [
        packet(MARKER, b"PGP"),
        packet(PADDING, &noise(100_000)),
        packet(PRIVATE, b""),
        // In parts: 512 bytes, 1 byte, none.
        [&[0xc0 | PADDING, 224 + 9][..], &noise(512), &[224], b"x", &[0]].concat(),
    ]
    .concat();
    let text = literal(b"text");
    let around = [&silent[..], &text, &silent].concat();
    for inside in [around.clone(), deflated(&around), [&silent[..], &deflated(&around), &silent].concat()] {
        assert_eq!(partner.read(&inside), (b"text".to_vec(), Ok(())));

        let mut handed_on = Vec::new();
        PacketFraming::inside(&inside[..], FramingProgress::default()).read_to_end(&mut handed_on).unwrap();
        assert!(handed_on.len() < inside.len() - silent.len() / 2 || inside[0] == 0xc0 | COMPRESSED);
    }
    let in_front = [&packet(MARKER, b"PGP")[..], &packet(PADDING, &noise(100_000)), &partner.message(&text)].concat();
    assert_eq!(decrypted(&partner.decryptor, &in_front, 10_000), (b"text".to_vec(), Ok(())));
}

#[test]
fn of_keys_and_signatures_there_are_so_many_at_most() {
    let partner = Partner::new();
    let text = literal(b"text");
    // Somebody else's, of a version that nobody knows.
    let keys = |count: usize, length: usize| {
        [&packet(1, &vec![9; length]).repeat(count)[..], &partner.message(&text)].concat()
    };
    let signature = packet(2, &[9; 20]);
    let long = packet(2, &vec![9; 300_000]);

    let few = decrypted(&partner.decryptor, &keys(255, 20), 10_000);
    assert_eq!(few, (b"text".to_vec(), Ok(())));
    let many = [
        decrypted(&partner.decryptor, &keys(256, 20), 10_000),
        decrypted(&partner.decryptor, &keys(2, 140_000), 10_000),
        partner.read(&[&signature.repeat(65)[..], &text].concat()),
        partner.read(&[&long[..], &text].concat()),
        // A few hundred bytes, and a million packets.
        partner.read(&deflated(&[&signature.repeat(1_000_000)[..], &text].concat())),
        partner.read(&deflated(&deflated(&[&signature.repeat(1_000_000)[..], &text].concat()))),
    ];
    for came in many {
        assert_eq!((came.0.len(), refused(&came)), (0, MessageErrorKind::Unsupported));
    }
}

#[test]
fn what_inflates_to_nothing_is_given_up_at_the_limit_or_with_its_body() {
    let partner = Partner::new();
    // 100 MB of them, in a few hundred bytes.
    let markers = packet(MARKER, b"PGP").repeat(10_000_000);
    let wrapped = deflated(&deflated(&markers));
    let limited = Arc::new(Decryptor {
        keys: partner.decryptor.keys.clone(),
        signers: Vec::new(),
        options: DecryptorOptions { max_plaintext: 10 << 20, ..HELD_FIRST },
    });

    let came = decrypted(&limited, &partner.message(&wrapped), 10_000);

    assert_eq!((came.0.len(), refused(&came)), (0, MessageErrorKind::TooLong));
    let message = partner.message(&wrapped.repeat(100));
    let mut body = TransformedBody::decrypted(
        Pieces::of(&message, 10_000),
        Arc::clone(&partner.decryptor),
        no_bound(),
        ThreadLane::Answer,
    );
    wait(async {
        let nothing_comes = std::future::poll_fn(|cx| {
            assert!(Pin::new(&mut body).poll_frame(cx).is_pending());
            Poll::Ready(())
        });
        nothing_comes.await;
    });
    drop(body);
    while Arc::strong_count(&partner.decryptor) > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn what_is_no_packet_or_belongs_elsewhere_is_told_apart() {
    let partner = Partner::new();
    let text = literal(b"text");
    let nested = partner.message(&text);
    // Version 3, of a binary document, SHA-256, EdDSA, by nobody; no other follows (RFC 9580 §5.4).
    let one_pass = packet(4, &[3, 0, 8, 22, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let cases = [
        (b"text".to_vec(), MessageErrorKind::Damaged),
        ([&text[..], b"text"].concat(), MessageErrorKind::Damaged),
        (text[..text.len() - 1].to_vec(), MessageErrorKind::Damaged),
        (Vec::new(), MessageErrorKind::Damaged),
        (nested.clone(), MessageErrorKind::Unsupported),
        (deflated(&nested), MessageErrorKind::Unsupported),
        // A signature around an encrypted message, which is not read with it.
        ([&one_pass[..], &nested].concat(), MessageErrorKind::Unsupported),
        (deflated(&[&one_pass[..], &nested].concat()), MessageErrorKind::Unsupported),
        ([&text[..], &text].concat(), MessageErrorKind::Damaged),
        (deflated(&[&text[..], &text].concat()), MessageErrorKind::Damaged),
        (deflated(&[&text[..], b"more"].concat()), MessageErrorKind::Damaged),
        (deflated(&[&text[..], &packet(2, &[9; 20])].concat()), MessageErrorKind::Damaged),
        ([&deflated(&text)[..], &text].concat(), MessageErrorKind::Damaged),
        ([&deflated(&text)[..], b"more"].concat(), MessageErrorKind::Damaged),
        (deflated(&[&deflated(&text)[..], &text].concat()), MessageErrorKind::Damaged),
    ];
    for (inside, kind) in cases {
        let came = partner.read(&inside);

        assert_eq!((came.0.len(), refused(&came)), (0, kind), "{}", inside.escape_ascii());
    }
}

#[test]
fn nothing_follows_the_last_line_of_armor_on_the_same_line_or_the_next() {
    let partner = Partner::new();
    let mut armored = Vec::new();
    let text = partner.message(&literal(b"text"));
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    for end in ["-----END PGP MESSAGE-----", "\n-----END PGP MESSAGE-----"] {
        for tail in ["", "\nmore", "more"] {
            armored.clear();
            write!(armored, "-----BEGIN PGP MESSAGE-----\n\n{text}{end}{tail}").unwrap();
            let came = decrypted(&partner.decryptor, &armored, 7);

            let is_good = end.starts_with('\n') && tail.is_empty();
            assert_eq!(came.1.is_ok(), is_good, "{end:?} {tail:?}");
        }
    }
}
