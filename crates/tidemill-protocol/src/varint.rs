//! Variable-length integers: seven bits a byte, least significant first; signed ones zigzag.

/// The longest encodings: 32 and 64 bits in groups of seven.
pub(crate) const VARINT_LEN_MAX: usize = 5;
pub(crate) const VARLONG_LEN_MAX: usize = 10;

/// Reads an unsigned 32-bit varint from the front; `None` if it is cut off, or too long for 32 bits.
#[inline]
pub(crate) fn read_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    // Tags, counts and lengths below 128 are nearly all there is.
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u32::from(first), 1));
    }
    let mut value = u32::from(first & 0x7f);
    for (at, &byte) in bytes.iter().enumerate().take(VARINT_LEN_MAX).skip(1) {
        let bits = u32::from(byte & 0x7f);
        if at == VARINT_LEN_MAX - 1 && byte > 0x0f {
            return None;
        }
        value |= bits << (7 * at);
        if byte < 0x80 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Reads an unsigned 64-bit varint from the front; `None` if it is cut off, or too long for 64 bits.
#[inline]
pub(crate) fn read_u64(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().enumerate().take(VARLONG_LEN_MAX) {
        if at == VARLONG_LEN_MAX - 1 && byte > 0x01 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Reads a zigzag 32-bit varint.
#[inline]
pub(crate) fn read_i32(bytes: &[u8]) -> Option<(i32, usize)> {
    let (raw, len) = read_u32(bytes)?;
    Some(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), len))
}

/// Reads a zigzag 64-bit varint.
#[inline]
pub(crate) fn read_i64(bytes: &[u8]) -> Option<(i64, usize)> {
    let (raw, len) = read_u64(bytes)?;
    Some(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), len))
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
                assert_eq!(read_u64(&bytes), Some((value, bytes.len())));
                if let Ok(short) = u32::try_from(value) {
                    assert_eq!(read_u32(&bytes), Some((short, bytes.len())));
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
            assert_eq!(read_i64(&bytes), Some((value, bytes.len())));
            assert_eq!(read_i32(&bytes), Some((value as i32, bytes.len())));
        }
        for value in [i64::MAX, i64::MIN] {
            assert_eq!(read_i64(&written(zigzag(value))), Some((value, 10)));
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
