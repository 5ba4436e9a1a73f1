//! The codecs a batch's records may be compressed with. Decompression never yields more than the caller allows.

mod snappy;

use std::io::{self, BufRead, Read, Write};

/// A batch's codec, as the low three bits of its attributes name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Records as they are.
    #[default]
    None,
    /// Gzip, one member or several.
    Gzip,
    /// Snappy: Xerial's blocks are written, and read as well as one raw block.
    Snappy,
    /// LZ4's frame format, independent blocks.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Why compressed records could not be read. The sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// There is more in it than the caller allows.
    #[error("decompresses to more than the {limit} bytes allowed")]
    TooLarge {
        /// What the caller allows.
        limit: usize,
    },
    /// The bytes are not what the codec writes.
    #[error("broken {codec:?} data")]
    Broken {
        /// The codec.
        codec: Compression,
    },
}

impl Compression {
    /// Every codec, in the order of its number.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The codec with that number, if there is one.
    pub fn from_id(id: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.id() == id)
    }

    /// The codec's number.
    pub fn id(self) -> i16 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }

    /// The name settings use for it, as `compression.type=lz4`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The codec that settings call by that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// Appends the compressed form of `plain` to `out`.
    pub fn compress(self, plain: &[u8], out: &mut Vec<u8>) {
        const IN_MEMORY: &str = "writing to memory does not fail";
        match self {
            Compression::None => out.extend_from_slice(plain),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder.write_all(plain).expect(IN_MEMORY);
                encoder.finish().expect(IN_MEMORY);
            }
            Compression::Snappy => snappy::compress(plain, out),
            Compression::Lz4 => {
                // Kafka's reader refuses blocks that refer to each other.
                let frame = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
                encoder.write_all(plain).expect(IN_MEMORY);
                encoder.finish().expect(IN_MEMORY);
            }
            Compression::Zstd => {
                zstd::stream::copy_encode(plain, out, zstd::DEFAULT_COMPRESSION_LEVEL).expect(IN_MEMORY);
            }
        }
    }

    /// Appends what `compressed` holds to `out`, if it is no more than `limit` bytes.
    ///
    /// # Errors
    /// It holds more, or is not what the codec writes; `out` then holds the part before that.
    pub fn decompress(
        self,
        compressed: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecompressError> {
        // A batch that lost all its records to compaction may keep its codec and have no bytes at all.
        if compressed.is_empty() {
            return Ok(());
        }
        // Records compress to a quarter or so; growing from nothing would copy them several times. Snappy says its length itself.
        if self != Compression::Snappy {
            out.reserve(limit.min(4 * compressed.len()));
        }
        match self {
            Compression::None => self.read_all(compressed, limit, out),
            Compression::Gzip => self.read_all(flate2::bufread::MultiGzDecoder::new(compressed), limit, out),
            Compression::Snappy => snappy::decompress(compressed, limit, out),
            Compression::Lz4 => self.read_blocks(lz4_flex::frame::FrameDecoder::new(compressed), limit, out),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(compressed);
                self.read_all(
                    decoder.map_err(|_| DecompressError::Broken { codec: self })?,
                    limit,
                    out,
                )
            }
        }
    }

    /// As `read_all`, for a decoder that shows its blocks: they are copied once, into room that need not be cleared first.
    fn read_blocks(
        self,
        mut decoder: impl BufRead,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecompressError> {
        let end = out.len().saturating_add(limit);
        loop {
            let block = decoder
                .fill_buf()
                .map_err(|_| DecompressError::Broken { codec: self })?;
            let len = block.len();
            if len == 0 {
                return Ok(());
            }
            if len > end - out.len() {
                return Err(DecompressError::TooLarge { limit });
            }
            out.extend_from_slice(block);
            decoder.consume(len);
        }
    }

    fn read_all(self, decoder: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
        // One byte more than allowed tells "exactly the limit" from "more".
        let read: io::Result<usize> = decoder.take((limit as u64).saturating_add(1)).read_to_end(out);
        match read {
            Ok(count) if count <= limit => Ok(()),
            Ok(_) => Err(DecompressError::TooLarge { limit }),
            Err(_) => Err(DecompressError::Broken { codec: self }),
        }
    }
}

#[cfg(test)]
mod tests;
