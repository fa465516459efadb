//! The packet with a message's encrypted data, beside the library's own.

use pgp::composed::{PlainSessionKey, RawSessionKey};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{PacketTrait, SymEncryptedProtectedData};
use rand_core::OsRng;

use super::seipd_v1::SeipdV1Writer;
use super::*;

/// Lengths around which something begins: a block of AES, of SHA-1, a part.
fn lengths() -> impl Iterator<Item = usize> {
    let around = [0, 16, 32, 46, 64, 110, 32_768 - 18 - 1, 32_768, 32_768 + 64, 65_536 - 19, 98_304];
    around.into_iter().flat_map(|length: usize| length.saturating_sub(3)..length + 4)
}

#[test]
fn the_library_reads_what_is_written_here_in_pieces_of_any_size() {
    let mut random = fastrand::Rng::with_seed(7);
    let key = [7; 32];
    for length in lengths() {
        let plaintext = noise(length);
        let mut packet = Vec::new();
        let mut writer = SeipdV1Writer::new(&key, &mut packet);
        let mut rest = &plaintext[..];
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(random.usize(1..=rest.len().min(40_000)));
            writer.write_all(piece).unwrap();
            rest = more;
        }
        writer.finish().unwrap();

        let pgp::composed::Message::Encrypted { mut edata, .. } =
            pgp::composed::Message::from_bytes(&packet[..]).unwrap()
        else {
            panic!("{length}")
        };
        let key = RawSessionKey::from(&key[..]);
        edata.decrypt(&PlainSessionKey::V3_4 { sym_alg: SymmetricKeyAlgorithm::AES256, key }).unwrap();
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut edata, &mut read).unwrap();

        assert!(read == plaintext, "{length}");
    }
}

#[test]
fn what_the_library_writes_is_read_here_whatever_the_cipher() {
    let gpg = Gpg::with_key("future-default");
    let decryptor = Arc::new(decryptor(&gpg.private()));
    let recipient = Recipient::read(&gpg.public(), now()).unwrap().remove(0);
    use SymmetricKeyAlgorithm::*;
    for cipher in [AES128, AES192, AES256, Camellia256, Twofish, CAST5, TripleDES] {
        let key = cipher.new_session_key(OsRng);
        for length in lengths().step_by(5) {
            let plaintext = noise(length);
            let mut message = Vec::new();
            let session = recipient.session_key(cipher, &key, length % 2 == 0).unwrap();
            session.to_writer_with_header(&mut message).unwrap();
            let inside = literal(&plaintext);
            let data = SymEncryptedProtectedData::encrypt_seipdv1(OsRng, cipher, key.as_ref(), &inside).unwrap();
            data.to_writer_with_header(&mut message).unwrap();

            let came = decrypted(&decryptor, &message, 1 + length % 999);

            assert!(came == (plaintext, Ok(())), "{cipher:?} {length}: {:?}", came.1);
        }
    }
}
