//! What is signed is held against the examples of the RFCs, and verified with the public keys.

use std::sync::Arc;

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rcgen::KeyPair;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use super::*;
use crate::config::Secrets;

fn from_pem(pem: &str) -> Arc<dyn SigningKey> {
    any_supported_type(&PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
}

fn generated(kind: &'static rcgen::SignatureAlgorithm) -> Arc<dyn SigningKey> {
    let der = KeyPair::generate_for(kind).unwrap().serialize_der();
    any_supported_type(&PrivatePkcs8KeyDer::from(der).into()).unwrap()
}

fn signer(key: &dyn SigningKey, algorithm: Option<JwsAlgorithm>) -> JwsSigner {
    let mut report = Report::new(Secrets::Read);
    JwsSigner::compile(key, algorithm.map(At::nowhere), Span::NOWHERE, &mut report).expect("a signer")
}

/// Its algorithm, what it signs, and the signature.
fn parts(jws: &Secret) -> (String, Vec<u8>) {
    let (signed, signature) = jws.expose().rsplit_once('.').unwrap();
    (signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

#[track_caller]
fn check_exact(signer: &JwsSigner, head: &str, claims: &str, expected: &str) {
    assert_eq!(signer.sign(head, claims).unwrap().expose(), expected);
}

#[test]
fn the_example_of_rfc_7515_with_a_secret_comes_out_byte_for_byte() {
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
    // No text, as a secret of ours would be.
    let signer =
        JwsSigner { algorithm: "HS256", key: JwsKey::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret))) };

    let expected =
        format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    check_exact(&signer, "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}", &claims(), &expected);
}

#[test]
fn the_example_of_rfc_7515_with_rsa_comes_out_byte_for_byte() {
    let signer = signer(&*from_pem(RFC_7515_A2), None);

    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5ju\
        jGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB\
        _eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXL\
        IhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let expected = format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.{signature}");
    check_exact(&signer, r#"{"alg":"RS256"}"#, &claims(), &expected);
}

#[test]
fn the_example_of_rfc_8037_comes_out_byte_for_byte() {
    let signer = signer(&*from_pem(RFC_8037_A1), None);

    let expected = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    check_exact(&signer, r#"{"alg":"EdDSA"}"#, "Example of Ed25519 signing", expected);
}

#[test]
fn the_key_of_rfc_7515_on_p_521_verifies_our_signature_as_it_does_theirs() {
    let signer = signer(&*from_pem(RFC_7515_A4), None);
    let JwsKey::Private { public, .. } = &signer.key else { panic!("no private key") };
    let key = UnparsedPublicKey::new(&signature::ECDSA_P521_SHA512_FIXED, public);

    let (signed, ours) = parts(&signer.sign(r#"{"alg":"ES512"}"#, "Payload").unwrap());

    let theirs = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwF\
        KdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    assert_eq!(signed, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA");
    key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(theirs).unwrap()).unwrap();
    key.verify(signed.as_bytes(), &ours).unwrap();
}

#[track_caller]
fn check(key: &dyn SigningKey, algorithm: JwsAlgorithm, length: usize, verifier: &'static dyn VerificationAlgorithm) {
    let signer = signer(key, Some(algorithm));
    let public = key.public_key().unwrap();
    // Numbers with leading zeros come up within a few hundred signatures, and must keep their length.
    for _ in 0..if length <= 132 { 300 } else { 2 } {
        let (signed, signature) = parts(&signer.sign("{}", "{}").unwrap());

        assert_eq!(signature.len(), length, "{}", signer.algorithm);
        let key = UnparsedPublicKey::new(verifier, public.as_ref());
        key.verify(signed.as_bytes(), &signature).unwrap_or_else(|_| panic!("{} is not verified", signer.algorithm));
    }
}

#[test]
fn every_algorithm_signs_what_its_public_key_verifies() {
    let rsa = from_pem(RFC_7515_A2);
    check(&*rsa, JwsAlgorithm::Rs256, 256, &signature::RSA_PKCS1_2048_8192_SHA256);
    check(&*rsa, JwsAlgorithm::Rs384, 256, &signature::RSA_PKCS1_2048_8192_SHA384);
    check(&*rsa, JwsAlgorithm::Rs512, 256, &signature::RSA_PKCS1_2048_8192_SHA512);
    check(&*rsa, JwsAlgorithm::Ps256, 256, &signature::RSA_PSS_2048_8192_SHA256);
    check(&*rsa, JwsAlgorithm::Ps384, 256, &signature::RSA_PSS_2048_8192_SHA384);
    check(&*rsa, JwsAlgorithm::Ps512, 256, &signature::RSA_PSS_2048_8192_SHA512);
    let p256 = generated(&rcgen::PKCS_ECDSA_P256_SHA256);
    check(&*p256, JwsAlgorithm::Es256, 64, &signature::ECDSA_P256_SHA256_FIXED);
    let p384 = generated(&rcgen::PKCS_ECDSA_P384_SHA384);
    check(&*p384, JwsAlgorithm::Es384, 96, &signature::ECDSA_P384_SHA384_FIXED);
    check(&*from_pem(RFC_7515_A4), JwsAlgorithm::Es512, 132, &signature::ECDSA_P521_SHA512_FIXED);
    check(&*from_pem(RFC_8037_A1), JwsAlgorithm::EdDsa, 64, &signature::ED25519);
}

#[test]
fn a_key_signs_in_the_usual_way_of_its_kind() {
    let usual = |key: Arc<dyn SigningKey>| signer(&*key, None).algorithm;

    assert_eq!(usual(from_pem(RFC_7515_A2)), "RS256");
    assert_eq!(usual(generated(&rcgen::PKCS_ECDSA_P256_SHA256)), "ES256");
    assert_eq!(usual(generated(&rcgen::PKCS_ECDSA_P384_SHA384)), "ES384");
    assert_eq!(usual(from_pem(RFC_7515_A4)), "ES512");
    assert_eq!(usual(from_pem(RFC_8037_A1)), "EdDSA");
}

#[track_caller]
fn check_misfit(key: &str, algorithm: JwsAlgorithm, expected: [&str; 2]) {
    let mut report = Report::new(Secrets::Read);
    let (written, place) = (Span { file: 0, start: 1, end: 2 }, Span { file: 0, start: 3, end: 4 });

    let signer = JwsSigner::compile(&*from_pem(key), Some(At { value: algorithm, span: written }), place, &mut report);

    assert!(signer.is_none());
    let said: Vec<_> = report.diagnostics().into_iter().map(|said| (said.span, &*said.message)).collect();
    assert_eq!(said, [(Some(written), expected[0])]);
    assert_eq!(report.diagnostics()[0].label.as_deref(), Some(expected[1]));
    assert_eq!(report.diagnostics()[0].related, Some((place, "the key".to_owned())));
}

#[test]
fn an_algorithm_of_another_kind_of_key_is_refused_with_those_that_fit() {
    let rsa = "the key signs by RS256, RS384, RS512, PS256, PS384, PS512";
    check_misfit(RFC_7515_A2, JwsAlgorithm::Es256, ["`ES256` does not fit the key", rsa]);
    check_misfit(RFC_7515_A4, JwsAlgorithm::Es256, ["`ES256` does not fit the key", "the key signs by ES512"]);
    check_misfit(RFC_8037_A1, JwsAlgorithm::Ps256, ["`PS256` does not fit the key", "the key signs by EdDSA"]);
}

#[test]
fn a_number_is_filled_up_with_zeros_and_what_is_no_signature_is_refused() {
    let der = |numbers: &[u8]| [&[0x30, u8::try_from(numbers.len()).unwrap()], numbers].concat();

    assert_eq!(fixed(&der(&[2, 1, 5, 2, 2, 0, 0x80]), 2), Some(vec![0, 5, 0, 0x80]));
    assert_eq!(fixed(&der(&[2, 3, 1, 2, 3, 2, 1, 1]), 2), None);
    assert_eq!(fixed(&der(&[2, 1, 5]), 2), None);
    assert_eq!(fixed(b"", 2), None);
}

#[test]
fn the_thumbprints_of_rfc_7638_and_rfc_9449_come_out() {
    let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKR\
        XjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZ\
        gnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0\
        Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let rsa = format!(r#"{{"e":"AQAB","kty":"RSA","n":"{modulus}"}}"#);
    let p256 = r#"{"crv":"P-256","kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}"#;

    assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(thumbprint(p256), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn a_key_that_is_made_here_shows_the_public_half_that_verifies() {
    let signer = JwsSigner::generate().unwrap();

    let jwk: serde_json::Value = serde_json::from_str(&signer.public_jwk().unwrap()).unwrap();
    let (signed, signature) = parts(&signer.sign("{}", "{}").unwrap());

    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = [vec![4], number("x"), number("y")].concat();
    let key = UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
    key.verify(signed.as_bytes(), &signature).unwrap();
    assert_eq!((jwk["kty"].as_str(), jwk["crv"].as_str()), (Some("EC"), Some("P-256")));
    assert_ne!(signer.public_jwk(), JwsSigner::generate().unwrap().public_jwk());
    assert_eq!(self::signer(&*from_pem(RFC_8037_A1), None).public_jwk(), None);
}

#[test]
fn an_identity_tells_keys_and_algorithms_apart_and_shows_no_secret() {
    let rsa = from_pem(RFC_7515_A2);
    let secret = |text: &str| JwsSigner::with_secret(&Secret::new(text.to_owned()));
    let identities = [
        signer(&*rsa, None).identity(),
        signer(&*rsa, Some(JwsAlgorithm::Ps256)).identity(),
        signer(&*from_pem(RFC_7515_A4), None).identity(),
        secret("one").identity(),
        secret("two").identity(),
    ];

    for (place, identity) in identities.iter().enumerate() {
        assert!(!identities[..place].contains(identity), "{place}");
    }
    assert_eq!(secret("one").identity(), identities[3]);
    assert_eq!(format!("{:?}", secret("one")), r#"JwsSigner { algorithm: "HS256", key: *** }"#);
}

/// The claims of RFC 7515, appendices A.1 and A.2.
fn claims() -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(CLAIMS).unwrap()).unwrap()
}

const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RFC_7515_A2: &str = "-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHm
fHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b3269
0r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB
EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWNmoud
F8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQABAoIBABKucaRpzQor
w35SbEUAVx8dYXUdZOlJcHtiWQ+dC6V8ljxAHj/PLyzTveyI5QO/xkObCyjIL303l2cfUhPu2MFa
JdjVzqACXuOrLot/eSFvxjvqVidTtAZExqFRJ9mylUVAoLvhowVWmC1On95fZCXxTUtxNEG1Xcc7
m0rtzJKs45J+N/V9DP1edYH6USyPSWGp6wuA+KgHRnKKVf9GRx80JQY7nVNkL17eHoTWEwga+lwi
0FEoW9Y7lDtWXYmKBWhUE+U8PGxlJf8f40493HDw1WRQ/aSLoS4QTp3rn7gYgeHEvfJdkkf0UMhl
knlo53M09EFPdadQ4TlUbjqKc50CgYEA4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH/5IB3jw3bcx
Gn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw/Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t
7yLc1QlQ5xHdwW1VhvKn+nXqhJTBgIPgtldC+KDV5z+y2XDwGUcCgYEAuQPEfgmVtjL0Uyyx88GZ
FF1fOunH3+7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD/Yw
D66t62wDmpe/HlB+TnBA+njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdcC
gYAHAp9XcCSrn8wVkMVkKdb7DOX4IKjzdahm+ctDAJN4O/y7OW5FKebvUjdAIt2GuoTZ71iTG+7F
0F+lP88jtjP4U4qe7VHoewl4MKOfXZKTe+YCS1XbNvfgwJ3Ltyl1OH9hWvu2yza7q+d5PCsDzqtm
27kxuvULVeya+TEdAB1ijQKBgQCH/3r6YrVH/uCWGy6bzV1nGNOdjKc9tmkfOJmN54dxdixdpozC
Q6U4OxZrsj3FcOhHBsqAHvX2uuYjagqvo3cOj1TRqNocX40omfCCMx3bD1yPPf/6TI2XECva/ggq
EY2mYzmIiA5LVVmc5nrybr+lssFKneeyxN2Wq93S0iJMdQKBgCGHewxzoa1r8ZMD0LETNrToK423
K377UCYqXfg5XMclbrjPbEC3YI1ZNqMtuhdBJqUnBi6tjKMF+34Xf0CUN8ncuXGO2CAYvO8PdyCi
xHX52ybaDjy1FtCE6yUXjoKNXKvUm7MWGsAYH6f4IegOetN5NvmUMFStCSkh7ixZLkN1
-----END RSA PRIVATE KEY-----
";
const RFC_7515_A4: &str = "-----BEGIN EC PRIVATE KEY-----
MIHcAgEBBEIBjmlvsDRQWIHdEQtIPrh9Ms5JX+NrN0Xt8tjK5PDyU59GFaDpjqtSs8DF6sTOB1GF
qOe7R96sHR3ne8z2YTXmPYKgBwYFK4EEACOhgYkDgYYABAHpKQUPEk/GvFXH1TkzZd+d70qwwiyy
V5j5NOsE48a643AaV6eRDp2BvzYxWejryxVdY0n0vbbM+KlMXFnHqsEBpAA0pkQON2dQ0jcf0b3C
yPO3HS9O5eo0MsgVzKMVYP5dk4fsd0tVg4Yw5cu/Woy+CpHdAGTGmZofbm5n+t3t5MjI9g==
-----END EC PRIVATE KEY-----
";
const RFC_8037_A1: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";
