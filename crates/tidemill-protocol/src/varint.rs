//! Variable-length integers: seven bits a byte, least significant first; signed ones zigzag.

/// The longest encodings: 32 and 64 bits in groups of seven.
pub(crate) const VARINT_LEN_MAX: usize = 5;
pub(crate) const VARLONG_LEN_MAX: usize = 10;

/// Reads an unsigned 32-bit varint from the front and returns what follows it; `None` if it is cut off, or too long for 32 bits.
#[inline]
pub(crate) fn read_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    match bytes {
        // Nearly all tags, counts and lengths have one byte or two.
        [low, rest @ ..] if *low < 0x80 => Some((u32::from(*low), rest)),
        [low, high, rest @ ..] if *high < 0x80 => Some((u32::from(low & 0x7f) | u32::from(*high) << 7, rest)),
        _ => {
            let (value, rest) = read_long(bytes, VARINT_LEN_MAX)?;
            Some((u32::try_from(value).ok()?, rest))
        }
    }
}

/// Reads an unsigned 64-bit varint from the front and returns what follows it; `None` if it is cut off, or too long for 64 bits.
#[inline]
pub(crate) fn read_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    match bytes {
        [low, rest @ ..] if *low < 0x80 => Some((u64::from(*low), rest)),
        [low, high, rest @ ..] if *high < 0x80 => Some((u64::from(low & 0x7f) | u64::from(*high) << 7, rest)),
        _ => read_long(bytes, VARLONG_LEN_MAX),
    }
}

fn read_long(bytes: &[u8], len_max: usize) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().enumerate().take(len_max) {
        // The tenth byte has one bit left to say.
        if at == VARLONG_LEN_MAX - 1 && byte > 0x01 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

/// Reads a zigzag 32-bit varint.
#[inline]
pub(crate) fn read_i32(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (raw, rest) = read_u32(bytes)?;
    Some(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), rest))
}

/// Reads a zigzag 64-bit varint.
#[inline]
pub(crate) fn read_i64(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (raw, rest) = read_u64(bytes)?;
    Some(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), rest))
}

/// Writes an unsigned varint by handing over its bytes one by one.
#[inline]
pub(crate) fn write_u64(mut value: u64, mut put: impl FnMut(u8)) {
    while value >= 0x80 {
        put((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    put(value as u8);
}

/// The unsigned form of a signed value: small magnitudes become small numbers.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// How many bytes [`write_u64`] hands over.
#[inline]
pub(crate) fn len_u64(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &[u8] = &[];

    fn written(value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_u64(value, |byte| bytes.push(byte));
        bytes
    }

    #[test]
    fn every_length_comes_back() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let bytes = written(value);
                assert_eq!(len_u64(value), bytes.len());
                assert_eq!(read_u64(&bytes), Some((value, NOTHING)));
                if let Ok(short) = u32::try_from(value) {
                    assert_eq!(read_u32(&bytes), Some((short, NOTHING)));
                } else {
                    assert_eq!(read_u32(&bytes), None);
                }
            }
        }
    }

    #[test]
    fn zigzag_comes_back_for_both_signs() {
        for value in [0, 1, -1, 63, -64, 64, i64::from(i32::MAX), i64::from(i32::MIN)] {
            let bytes = written(zigzag(value));
            assert_eq!(read_i64(&bytes), Some((value, NOTHING)));
            assert_eq!(read_i32(&bytes), Some((value as i32, NOTHING)));
        }
        for value in [i64::MAX, i64::MIN] {
            assert_eq!(read_i64(&written(zigzag(value))), Some((value, NOTHING)));
        }
    }

    #[test]
    fn cut_off_and_overlong_are_refused() {
        assert_eq!(read_u32(&[]), None);
        assert_eq!(read_u32(&[0x80, 0x80]), None);
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x10]), None);
        assert_eq!(read_u32(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), None);
        assert_eq!(read_u64(&[0xff; 10]), None);
        assert_eq!(read_u64(&[0x80; 11]), None);
    }
}
