//! How much is held, how much comes out, and that nothing goes on for a body that is gone.

use super::*;

#[test]
fn a_message_that_is_a_thousand_times_its_size_ends_at_the_limit() {
    let gpg = Gpg::with_key("future-default");
    let mut zeros = Command::new("sh");
    let home = gpg.home.path().to_str().unwrap();
    zeros.args(["-c", "head -c 1073741824 /dev/zero | gpg --homedir $0 --batch -z 9 --compress-algo zlib -r own@example.org --encrypt", home]);
    let message = fed(zeros, b"").stdout;
    assert!((500_000..2_000_000).contains(&message.len()), "{}", message.len());
    let options = DecryptorOptions { max_plaintext: 64 << 20, ..HELD_FIRST };
    let within = Arc::new(Decryptor { options, ..decryptor(&gpg.private()) });
    let unsent = DecryptorOptions { max_plaintext: 4 << 20, ..HELD_FIRST };
    let before = Arc::new(Decryptor { options: unsent, ..decryptor(&gpg.private()) });

    let came = decrypted(&within, &message, 100_000);
    let none = decrypted(&before, &message, 100_000);

    assert_eq!(refused(&came), MessageErrorKind::TooLong);
    assert!(came.0.len() as u64 <= options.max_plaintext, "{}", came.0.len());
    // What is held to be checked first is known to be too long before anything went on.
    assert_eq!((none.0.len(), refused(&none)), (0, MessageErrorKind::TooLong));
}

/// A decryptor that holds so much, and the messages of two plaintexts: one that fits to the byte, and one twice as long.
fn held(gpg: &Gpg, check_first: u64, beyond: BeyondCheck) -> (Arc<Decryptor>, [Vec<u8>; 2]) {
    let options = DecryptorOptions { check_first, beyond, ..HELD_FIRST };
    let decryptor = Decryptor { options, ..decryptor(&gpg.private()) };
    let length = usize::try_from(check_first).unwrap();
    let message = |length| encrypted(encryptor(&gpg.public(), plain()), &noise(length), 5000);
    (Arc::new(decryptor), [message(length), message(2 * length)])
}

#[test]
fn what_is_too_long_to_be_checked_first_is_refused_or_streams() {
    let gpg = Gpg::with_key("future-default");
    for beyond in [BeyondCheck::Stream, BeyondCheck::Refuse] {
        let (decryptor, [fits, longer]) = held(&gpg, 100_000, beyond);
        let (mut bad_fits, mut bad_longer) = (fits.clone(), longer.clone());
        for message in [&mut bad_fits, &mut bad_longer] {
            *message.last_mut().unwrap() ^= 1;
        }

        let whole = decrypted(&decryptor, &fits, 1000);
        let bad = decrypted(&decryptor, &bad_fits, 1000);
        let long = decrypted(&decryptor, &longer, 1000);
        let bad_long = decrypted(&decryptor, &bad_longer, 1000);

        assert_eq!(whole, (noise(100_000), Ok(())));
        assert_eq!((bad.0.len(), refused(&bad)), (0, MessageErrorKind::Damaged));
        match beyond {
            BeyondCheck::Stream => {
                assert_eq!(long, (noise(200_000), Ok(())));
                assert!(bad_long.0.len() > 100_000 && refused(&bad_long) == MessageErrorKind::Damaged);
            }
            BeyondCheck::Refuse => {
                assert_eq!((long.0.len(), refused(&long)), (0, MessageErrorKind::BeyondCheck));
                assert_eq!((bad_long.0.len(), refused(&bad_long)), (0, MessageErrorKind::BeyondCheck));
            }
        }
    }
}

#[test]
fn a_message_of_version_2_is_not_held() {
    let gpg = Gpg::with_key("future-default");
    let options = EncryptorOptions { format: MessageFormat::V2, ..plain() };
    let message = encrypted(encryptor(&gpg.public(), options), &noise(100_000), 5000);
    let never: Hold = Box::new(|_| panic!("nothing is held"));

    let body = Pieces::of(&message, 1000);
    let came = read(TransformedBody::decrypted(body, Arc::new(decryptor(&gpg.private())), never, ThreadLane::Answer));

    assert_eq!(came, (noise(100_000), Ok(())));
}

#[test]
fn without_room_to_hold_it_a_message_is_refused() {
    let gpg = Gpg::with_key("future-default");
    let message = gpg.encrypt(&[], &noise(300_000));
    let full: Hold = Box::new(|bytes| bytes < 100_000);

    let body = Pieces::of(&message, 1000);
    let came = read(TransformedBody::decrypted(body, Arc::new(decryptor(&gpg.private())), full, ThreadLane::Answer));

    assert_eq!((came.0.len(), refused(&came)), (0, MessageErrorKind::NoRoom));
}

#[test]
fn a_dropped_body_ends_its_thread() {
    let gpg = Gpg::with_key("future-default");
    let encryptor = Arc::new(encryptor(&gpg.public(), plain()));
    let endless = |read: usize| {
        let pieces = Pieces(std::iter::repeat_n(Ok(Bytes::from(vec![0; 60_000])), 100).collect());
        let mut body = TransformedBody::encrypted(pieces, Arc::clone(&encryptor), ThreadLane::Request);
        wait(async {
            for _ in 0..read {
                body.frame().await.unwrap().unwrap();
            }
        });
    };

    // More than there are threads: were one left behind, the last would wait in vain.
    for read in 0..100 {
        endless(read % 4);
    }

    // Each thread has the encryptor as long as it runs.
    while Arc::strong_count(&encryptor) > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn more_bodies_than_threads_take_turns() {
    let gpg = Gpg::with_key("future-default");
    let encryptor = Arc::new(encryptor(&gpg.public(), plain()));
    let plaintext = noise(200_000);

    wait(async {
        let mut bodies: Vec<_> = (0..100)
            .map(|_| {
                let pieces = Pieces::of(&plaintext, 10_000);
                TransformedBody::encrypted(pieces, Arc::clone(&encryptor), ThreadLane::Request)
            })
            .collect();
        // All are asked for their first piece; most of them wait in line, and the rest ends only if somebody reads it.
        let first = bodies.iter_mut().map(|body| async move {
            body.begin().await.unwrap();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame.unwrap().into_data().unwrap().len();
            }
            assert!(length > 200_000);
        });
        let mut waiting: Vec<_> = first.map(Box::pin).collect();
        std::future::poll_fn(|cx| {
            waiting.retain_mut(|one| one.as_mut().poll(cx).is_pending());
            if waiting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
}
