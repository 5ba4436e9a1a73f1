//! Snappy in its two wire forms.
//!
//! ```text
//! Xerial   82 'S' 'N' 'A' 'P' 'P' 'Y' 00, i32 version, i32 least compatible version, then blocks: i32 length, raw Snappy
//! raw      one Snappy block, as librdkafka and Go clients send it
//! ```

use super::{Compression, DecompressError};

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_VERSION: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// No three bytes of Snappy stand for more than 64: a block that announces more than 22 times its length lies.
const EXPANSION_MAX: usize = 22;
/// What Java's writer puts into a block.
const BLOCK_LEN: usize = 32 * 1024;

const BROKEN: DecompressError = DecompressError::Broken {
    codec: Compression::Snappy,
};

pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&XERIAL_VERSION);
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(BLOCK_LEN) {
        let start = out.len();
        out.resize(start + 4 + snap::raw::max_compress_len(block.len()), 0);
        let (prefix, room) = out
            .get_mut(start..)
            .and_then(|room| room.split_first_chunk_mut::<4>())
            .expect("resized above");
        let len = encoder
            .compress(block, room)
            .expect("the room is Snappy's own bound for this block");
        *prefix = (len as u32).to_be_bytes();
        out.truncate(start + 4 + len);
    }
}

pub(super) fn decompress(compressed: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    // The announced lengths are what gets allocated: check them against the limit first.
    let mut total = 0usize;
    for block in Blocks::of(compressed)? {
        let block = block?;
        let len = snap::raw::decompress_len(block).map_err(|_| BROKEN)?;
        total = total.saturating_add(len);
        if total > limit {
            return Err(DecompressError::TooLarge { limit });
        }
        if len / EXPANSION_MAX > block.len() {
            return Err(BROKEN);
        }
    }
    let start = out.len();
    out.resize(start + total, 0);
    let mut room = out.get_mut(start..).expect("resized above");
    let mut decoder = snap::raw::Decoder::new();
    for block in Blocks::of(compressed)? {
        let written = decoder.decompress(block?, room).map_err(|_| BROKEN)?;
        room = room.split_at_mut_checked(written).ok_or(BROKEN)?.1;
    }
    if room.is_empty() { Ok(()) } else { Err(BROKEN) }
}

/// The raw blocks of either form.
enum Blocks<'a> {
    Raw(Option<&'a [u8]>),
    Xerial(&'a [u8]),
}

impl<'a> Blocks<'a> {
    fn of(compressed: &'a [u8]) -> Result<Self, DecompressError> {
        match compressed.strip_prefix(&XERIAL_MAGIC) {
            None => Ok(Blocks::Raw(Some(compressed))),
            Some(rest) => rest.get(XERIAL_VERSION.len()..).map(Blocks::Xerial).ok_or(BROKEN),
        }
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<&'a [u8], DecompressError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = match self {
            Blocks::Raw(block) => return block.take().map(Ok),
            Blocks::Xerial([]) => return None,
            Blocks::Xerial(rest) => rest,
        };
        let block = std::mem::take(rest)
            .split_first_chunk::<4>()
            .and_then(|(len, after)| {
                let (block, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
                *rest = after;
                Some(block)
            });
        Some(block.ok_or(BROKEN))
    }
}
