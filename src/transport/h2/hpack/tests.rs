//! What is written is read as it was meant, secrets leave no trace in sizes, and what others write is read as they meant it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::decoder::NotHpack;
use super::{HeadDecoder, HeadEncoder, ReceivedField, ReceivedName, RequestLine};
use crate::config::Scheme;

/// A field, and whether it is a secret.
type Field = (&'static str, String, bool);

#[test]
fn a_long_token_is_one_byte_from_the_second_request_on() {
    let token = format!("Bearer {}", "t0k3n-".repeat(133));
    let mut encoder = HeadEncoder::new();

    let lengths = [(); 4].map(|()| block(&mut encoder, &[("authorization", token.clone(), true)]).len());

    assert!(lengths[0] > 800, "{lengths:?}");
    // :method, :scheme, :path with a slash and its length, the token, and :authority, which comes twice in full.
    assert_eq!(lengths[1..], [6 + 2 + "service.example:8443".len(), 7, 7]);
}

#[test]
fn a_secret_that_could_be_guessed_is_never_remembered_by_anybody() {
    let of_hexadecimal = "0123456789abcdef".repeat(2);
    for (name, value) in [
        ("authorization", "Basic dXNlcjpwYXNzd29yZHBhc3N3b3JkcGFzc3dvcmRwYXNzd29yZA==".to_owned()),
        ("authorization", format!("Bearer {}", &of_hexadecimal[1..])),
        ("x-api-key", of_hexadecimal.clone()),
        ("dpop", format!("eyJ0eXAiOiJkcG9wK2p3dCJ9.{of_hexadecimal}")),
    ] {
        let mut encoder = HeadEncoder::new();
        let blocks = [(); 3].map(|()| block(&mut encoder, &[(name, value.clone(), true)]));

        for block in blocks {
            let number = if name == "authorization" { &[0b0001_1111, 23 - 15][..] } else { &[0b0001_0000] };
            assert!(block.ends_with(value.as_bytes()), "{name}: {value}");
            assert!(block.windows(number.len()).any(|bytes| bytes == number), "{name}: {block:?}");
        }
    }
}

#[test]
fn what_an_app_shows_of_itself_is_not_remembered() {
    let token = format!("Bearer {}", "t0k3n-".repeat(133));
    for (name, value) in [("authorization", token), ("cookie", "session=8f3a9b2c".to_owned())] {
        let mut encoder = HeadEncoder::new();
        let blocks = [(); 3].map(|()| block(&mut encoder, &[(name, value.clone(), false)]));

        assert!(blocks.iter().all(|block| block.ends_with(value.as_bytes())), "{name}");
    }
}

#[test]
fn what_changes_with_each_request_drives_nothing_out() {
    let token = format!("Bearer {}", "t0k3n-".repeat(133));
    let mut encoder = HeadEncoder::new();

    let lengths: Vec<_> = (0..10_000)
        .map(|number| {
            let trace = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{number:016}-01");
            let id = format!("6f1c2f3e-9a31-4d0e-8f57-{number:012}");
            let fields =
                [("traceparent", trace, false), ("x-request-id", id, false), ("authorization", token.clone(), true)];
            block(&mut encoder, &fields).len()
        })
        .collect();

    assert!(lengths[2..].iter().all(|length| *length == lengths[2]), "{lengths:?}");
}

#[test]
fn what_the_table_has_no_room_for_is_sent_in_full_and_never_to_be_remembered() {
    for (token_bytes, table_bytes) in [(4_000, 4_096), (800, 0), (800, 500)] {
        let token = format!("Bearer {}", "t".repeat(token_bytes));
        let mut encoder = HeadEncoder::new();
        encoder.resize(table_bytes);

        let blocks = [(); 4].map(|()| block(&mut encoder, &[("authorization", token.clone(), true)]));

        for block in blocks {
            let (before, value) = block.split_at(block.len() - token.len());
            assert_eq!(value, token.as_bytes());
            // The token's length in two bytes or three, and what says that it is never to be remembered.
            let form = [0b0001_1111, 23 - 15];
            assert!(before.windows(2).any(|bytes| bytes == form), "{table_bytes}: {before:?}");
        }
    }
}

#[test]
fn a_service_is_told_once_how_small_its_table_became_and_is() {
    let mut encoder = HeadEncoder::new();
    let begins = |encoder: &mut HeadEncoder, with: &[u8]| {
        let block = block(encoder, &[]);
        assert!(block.starts_with(with) && block[with.len()] == 0x82, "{block:?}");
    };

    encoder.resize(4_096);
    begins(&mut encoder, &[]);
    encoder.resize(65_536);
    begins(&mut encoder, &[]);
    encoder.resize(30);
    begins(&mut encoder, &[0x20 | 30]);
    begins(&mut encoder, &[]);
    encoder.resize(0);
    encoder.resize(4_096);
    begins(&mut encoder, &[0x20, 0x3f, 0xe1, 0x1f]);
    begins(&mut encoder, &[]);
}

#[test]
fn another_token_takes_the_place_of_the_last() {
    let tokens = [1, 2].map(|number| format!("Bearer {}", format!("t0k3n{number}").repeat(133)));
    let mut encoder = HeadEncoder::new();

    let lengths =
        [0, 0, 1, 1, 0].map(|which| block(&mut encoder, &[("authorization", tokens[which].clone(), true)]).len());

    assert!(lengths[2] > 800 && lengths[3..].iter().all(|length| *length == 7), "{lengths:?}");
}

#[test]
fn the_answers_of_the_rfc_are_read() {
    // RFC 7541, appendix C.5 and C.6: with a table of 256 bytes, of which the first block says.
    let date_21 = "Mon, 21 Oct 2013 20:13:21 GMT";
    let date_22 = "Mon, 21 Oct 2013 20:13:22 GMT";
    let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let first = vec![
        (":status", "302"),
        ("cache-control", "private"),
        ("date", date_21),
        ("location", "https://www.example.com"),
    ];
    let second = [&[(":status", "307")], &first[1..]].concat();
    let third = vec![
        (":status", "200"),
        ("cache-control", "private"),
        ("date", date_22),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        ("set-cookie", cookie),
    ];
    let plain = [
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54\
         6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d\
         4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ];
    let huffman = [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960\
         d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ];
    for blocks in [plain, huffman] {
        let mut decoder = HeadDecoder::new();
        assert_eq!(decode(&mut decoder, &[0x3f, 0xe1, 0x01]).unwrap(), []);
        for (block, expected) in blocks.iter().zip([&first, &second, &third]) {
            let expected: Vec<_> = expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!(decode(&mut decoder, &bytes_of(block)).unwrap(), expected, "{block}");
        }
        // What is in the table now, newest first, and nothing after it.
        let names: Vec<_> =
            (62..65).map(|number| decode(&mut decoder, &[0x80 | number]).unwrap()[0].0.clone()).collect();
        assert_eq!(names, ["set-cookie", "content-encoding", "date"]);
        assert_eq!(decode(&mut decoder, &[0x80 | 65]), Err(NotHpack));
    }
}

#[test]
fn what_is_no_hpack_is_refused() {
    for (block, why) in [
        (&[0x80][..], "number 0"),
        (&[0x80 | 62], "nothing is in the table"),
        (&[0xff], "a number is cut off"),
        (&[0xff, 0x80, 0x80, 0x80, 0x80, 0x00], "a number is longer than any"),
        (&[0x40], "there is no name"),
        (&[0x40, 0x01], "the name is cut off"),
        (&[0x40, 0x01, b'x', 0x02, b'y'], "the value is cut off"),
        (&[0x7f, 0x00, 0x00], "a name of nothing"),
        (&[0x40, 0x81, 0x00, 0x00], "Huffman's code is filled up with zeros"),
        (&[0x88, 0x20], "the table is resized behind a field"),
        (&[0x3f, 0xe2, 0x1f], "the table is made larger than we said"),
    ] {
        assert_eq!(decode(&mut HeadDecoder::new(), block), Err(NotHpack), "{why}");
    }
    assert_eq!(decode(&mut HeadDecoder::new(), &[0x20, 0x3f, 0xe1, 0x1f, 0x88]).unwrap().len(), 1);
}

#[test]
fn what_no_answer_has_takes_up_its_place_all_the_same() {
    let mut decoder = HeadDecoder::new();
    // A name in capitals, a value with a line end, a field of requests, and one that is in order.
    let remembered = [&b"\x40\x01X\x01y"[..], b"\x40\x01x\x02\r\n", b"\x40\x05:path\x01/", b"\x40\x01a\x01b"].concat();
    assert_eq!(read(&mut decoder, &remembered).unwrap().len(), 4);

    let again: Vec<_> = (62..66).map(|number| read(&mut decoder, &[0x80 | number]).unwrap().remove(0)).collect();

    let plain = |name| ReceivedName::Plain(HeaderName::from_static(name));
    let seen: Vec<_> = again.iter().map(|field| (field.name.clone(), field.value.clone(), field.bytes())).collect();
    let value = |value| Some(HeaderValue::from_static(value));
    assert_eq!(
        seen,
        [
            (plain("a"), value("b"), 34),
            (ReceivedName::Forbidden, value("/"), 38),
            (plain("x"), None, 35),
            (ReceivedName::Forbidden, value("y"), 34),
        ]
    );
}

#[test]
fn a_field_that_is_too_large_for_the_table_empties_it() {
    let mut decoder = HeadDecoder::new();
    decode(&mut decoder, b"\x40\x01a\x01b").unwrap();
    let large = [&b"\x40\x01x\x7f\xe1\x1e"[..], &[b'y'; 4_064]].concat();

    assert_eq!(decode(&mut decoder, &large).unwrap()[0].1.len(), 4_064);

    assert_eq!(decode(&mut decoder, &[0x80 | 62]), Err(NotHpack));
}

proptest! {
    #[test]
    fn a_table_of_any_size_is_the_same_on_both_sides(
        heads in prop::collection::vec((prop::collection::vec(field(), 0..12), prop::option::weighted(0.2, size())), 1..30),
    ) {
        let (mut encoder, mut decoder) = (HeadEncoder::new(), HeadDecoder::new());
        for (fields, size) in heads {
            if let Some(size) = size {
                encoder.resize(size);
            }
            let block = block(&mut encoder, &fields);
            let read = decode(&mut decoder, &block).unwrap();

            let expected: Vec<_> = fields.into_iter().map(|(name, value, _)| (name.to_owned(), value)).collect();
            // What stands before the fields is of requests, which no answer has.
            prop_assert_eq!(&read[4..], expected);
        }
    }

    #[test]
    fn whatever_comes_is_read_or_refused(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8)) {
        let mut decoder = HeadDecoder::new();
        for block in blocks {
            if read(&mut decoder, &block).is_err() {
                break;
            }
        }
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![0, 64, 300, 1_000, 4_096, 65_536])
}

/// Few names and values, so that they meet again.
fn field() -> impl Strategy<Value = Field> {
    let names = vec!["authorization", "accept", "x-api-key", "x-request-id", "cookie", "user-agent", "x-long"];
    let texts = vec![
        String::new(),
        "a".to_owned(),
        format!("Bearer {}", "b".repeat(900)),
        format!("Bearer {}", "c".repeat(32)),
        "d".repeat(126),
        "e".repeat(127),
        "f".repeat(128),
        "g".repeat(2_900),
        "h".repeat(3_500),
    ];
    (prop::sample::select(names), prop::sample::select(texts), any::<bool>())
}

/// The field block of a request for `/`.
fn block(encoder: &mut HeadEncoder, fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    let line =
        RequestLine { method: &Method::GET, scheme: Scheme::Http, authority: "service.example:8443", target: "/" };
    encoder.begin(&line, &mut block);
    for (name, value, secret) in fields {
        let mut value = HeaderValue::from_str(value).unwrap();
        value.set_sensitive(*secret);
        encoder.add(&HeaderName::from_static(name), &value, &mut block);
    }
    block
}

fn read(decoder: &mut HeadDecoder, block: &[u8]) -> Result<Vec<ReceivedField>, NotHpack> {
    let mut fields = Vec::new();
    decoder.decode(block, |field| fields.push(field))?;
    Ok(fields)
}

fn decode(decoder: &mut HeadDecoder, block: &[u8]) -> Result<Vec<(String, String)>, NotHpack> {
    let text = |field: ReceivedField| {
        let name = match field.name {
            ReceivedName::Status => ":status".to_owned(),
            ReceivedName::Plain(name) => name.to_string(),
            ReceivedName::Forbidden => String::new(),
        };
        (name, String::from_utf8_lossy(field.value.as_ref().map_or(b"", HeaderValue::as_bytes)).into_owned())
    };
    Ok(read(decoder, block)?.into_iter().map(text).collect())
}

fn bytes_of(hexadecimal: &str) -> Bytes {
    let digits: Vec<_> = hexadecimal.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}
