//! Murmur3, 128 bits, as Kafka Streams hashes a row that subscribes to a row of another table.

const SEED: u64 = 104_729;
const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The hash of some bytes: two words.
pub(super) fn hash(bytes: &[u8]) -> [u64; 2] {
    let [mut h1, mut h2] = [SEED; 2];
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        let (first, second) = block.split_at(8);
        h1 ^= mix_first(word(first));
        h1 = h1.rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix_second(word(second));
        h2 = h2.rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let (first, second) = rest.split_at(rest.len().min(8));
    h2 ^= mix_second(word(second));
    h1 ^= mix_first(word(first));
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish(h1);
    h2 = finish(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    [h1, h2]
}

/// Up to eight bytes as a little-endian number.
fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn mix_first(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix_second(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The words are what Kafka Streams 4.1.0's own class gave for these texts.
    #[test]
    fn hashes_are_those_of_kafka_streams() {
        let cases = [
            ("", [0x9d27_64a0_18e3_2942, 0x8c3c_f3b0_3593_8518]),
            ("a", [0x3361_634e_7e0f_5188, 0xe9c7_dda2_4eae_326b]),
            ("abcdefg", [0x8213_f0ca_bc69_2d12, 0x9846_4044_828f_459a]),
            ("value-of-eight", [0x3e04_2162_b0d4_d412, 0x6725_bcc7_a7d8_a91b]),
            ("0123456789abcdef", [0x1a6e_941e_c6a7_6967, 0xd7d8_2808_f505_d6b1]),
            (
                "0123456789abcdef0123456789abcdef\u{ff}\u{100}xyz",
                [0xa0ed_36bf_ffa6_1696, 0xadb5_921d_3049_5f3e],
            ),
        ];
        for (text, words) in cases {
            assert_eq!(hash(text.as_bytes()), words, "{text}");
        }
    }
}
