//! Snappy in its two wire forms.
//!
//! ```text
//! Xerial   82 'S' 'N' 'A' 'P' 'P' 'Y' 00, i32 version, i32 least compatible version, then blocks: i32 length, raw Snappy
//! raw      one Snappy block, as librdkafka and Go clients send it
//! ```

use super::{Compression, DecompressError};

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_VERSION: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
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
    let Some(blocks) = compressed.strip_prefix(&XERIAL_MAGIC) else {
        return decompress_block(compressed, limit, limit, out);
    };
    let start = out.len();
    let mut rest = blocks.get(XERIAL_VERSION.len()..).ok_or(BROKEN)?;
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk::<4>().ok_or(BROKEN)?;
        let len = u32::from_be_bytes(*len) as usize;
        let (block, after) = after.split_at_checked(len).ok_or(BROKEN)?;
        decompress_block(block, limit - (out.len() - start), limit, out)?;
        rest = after;
    }
    Ok(())
}

fn decompress_block(
    block: &[u8],
    left: usize,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    // The announced length is what gets allocated: check it against the limit first.
    let len = snap::raw::decompress_len(block).map_err(|_| BROKEN)?;
    if len > left {
        return Err(DecompressError::TooLarge { limit });
    }
    let start = out.len();
    out.resize(start + len, 0);
    let room = out.get_mut(start..).expect("resized above");
    let written = snap::raw::Decoder::new()
        .decompress(block, room)
        .map_err(|_| BROKEN)?;
    if written == len { Ok(()) } else { Err(BROKEN) }
}
