use super::*;

fn sample(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| if at % 7 == 0 { (at / 11) as u8 } else { b'x' })
        .collect()
}

#[test]
fn every_codec_gives_back_what_it_took() {
    for codec in Compression::ALL {
        for len in [0, 1, 61, 32 * 1024, 32 * 1024 + 1, 300_000] {
            let plain = sample(len);
            let mut compressed = Vec::new();
            codec.compress(&plain, &mut compressed);
            let mut back = vec![7];
            codec.decompress(&compressed, len, &mut back).unwrap();
            assert_eq!(
                back.split_first(),
                Some((&7, plain.as_slice())),
                "{codec:?} {len}"
            );
        }
    }
}

#[test]
fn one_byte_over_the_limit_is_too_large() {
    for codec in Compression::ALL {
        let plain = sample(100_000);
        let mut compressed = Vec::new();
        codec.compress(&plain, &mut compressed);
        let mut out = Vec::new();
        let refused = codec.decompress(&compressed, plain.len() - 1, &mut out);
        assert_eq!(
            refused,
            Err(DecompressError::TooLarge {
                limit: plain.len() - 1
            }),
            "{codec:?}"
        );
        assert!(out.len() <= plain.len(), "{codec:?} wrote {} bytes", out.len());
    }
}

#[test]
fn cut_off_data_is_broken() {
    for codec in Compression::ALL {
        if codec == Compression::None {
            continue;
        }
        let plain = sample(100_000);
        let mut compressed = Vec::new();
        codec.compress(&plain, &mut compressed);
        // LZ4's last four bytes only say that it was the last block: without them all is there.
        for cut in [1, compressed.len() / 2, compressed.len() - 5] {
            let mut out = Vec::new();
            let result = codec.decompress(&compressed[..cut], plain.len(), &mut out);
            // A Xerial stream may end after any block, so a cut can fall where it is merely shorter.
            assert!(
                result.is_err() || out.len() < plain.len(),
                "{codec:?} cut at {cut}"
            );
        }
    }
}

#[test]
fn raw_snappy_is_read_too() {
    let plain = sample(100_000);
    let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    let mut back = Vec::new();
    Compression::Snappy
        .decompress(&raw, plain.len(), &mut back)
        .unwrap();
    assert_eq!(back, plain);
}

#[test]
fn a_snappy_length_that_lies_allocates_nothing() {
    // A block that announces 4 GiB, and one that announces half of what is allowed.
    for lie in [&[0xff, 0xff, 0xff, 0xff, 0x0f, 0][..], &[0x80, 0x80, 0x20, 0]] {
        let mut xerial = vec![
            0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
        ];
        xerial.extend_from_slice(&u32::try_from(lie.len()).unwrap().to_be_bytes());
        xerial.extend_from_slice(lie);
        for lie in [lie, &xerial] {
            let mut out = Vec::new();
            assert!(Compression::Snappy.decompress(lie, 1 << 20, &mut out).is_err());
            assert_eq!(out.capacity(), 0);
        }
    }
}

#[test]
fn what_snappy_compresses_best_is_read() {
    let plain = vec![0; 1 << 20];
    for compressed in [
        {
            let mut xerial = Vec::new();
            Compression::Snappy.compress(&plain, &mut xerial);
            xerial
        },
        snap::raw::Encoder::new().compress_vec(&plain).unwrap(),
    ] {
        let mut back = Vec::new();
        Compression::Snappy
            .decompress(&compressed, plain.len(), &mut back)
            .unwrap();
        assert_eq!(back, plain);
    }
}

#[test]
fn names_and_numbers_come_back() {
    for codec in Compression::ALL {
        assert_eq!(Compression::from_id(codec.id()), Some(codec));
        assert_eq!(Compression::from_name(codec.name()), Some(codec));
    }
    assert_eq!(Compression::from_id(5), None);
}
