//! Compressed bodies: which codings are taken, and how they are unpacked within bounds.

use std::io::{self, BufReader, Read};

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// Largest window of a zstd frame, as a power of two: 8 MiB, what RFC 9659 allows the content coding `zstd`.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Identity,
    Gzip,
    /// `deflate` as HTTP has it: zlib's format (RFC 9110, section 8.4.1.2).
    Deflate,
    Zstd,
}

/// The codings that a refusal names.
pub(super) const SUPPORTED: &str = "gzip, deflate, zstd or identity";

impl Compression {
    /// The coding of that name, as `content-encoding` and `grpc-encoding` have it.
    pub(super) fn of_name(name: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Compression); 6] = [
            ("", Compression::Identity),
            ("identity", Compression::Identity),
            ("gzip", Compression::Gzip),
            ("x-gzip", Compression::Gzip),
            ("deflate", Compression::Deflate),
            ("zstd", Compression::Zstd),
        ];
        NAMES.iter().find(|(one, _)| name.eq_ignore_ascii_case(one.as_bytes())).map(|(_, compression)| *compression)
    }

    /// The name, for messages.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }

    /// What unpacking takes in memory beside input and output.
    pub(super) const fn working_bytes(self) -> usize {
        match self {
            Self::Identity => 0,
            // A window of 32 KiB and the tables beside it.
            Self::Gzip | Self::Deflate => 64 * 1024,
            Self::Zstd => 1 << ZSTD_WINDOW_LOG_MAX,
        }
    }

    /// What the bytes unpack to, as it is read. Several frames in a row are one body.
    pub(super) fn reader<'b>(self, bytes: &'b [u8]) -> io::Result<Box<dyn Read + 'b>> {
        Ok(match self {
            Self::Identity => Box::new(bytes),
            Self::Gzip => Box::new(MultiGzDecoder::new(bytes)),
            Self::Deflate => Box::new(ZlibDecoder::new(bytes)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(BufReader::new(bytes))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_asks_for_a_large_window_is_refused() {
        let packed = |window_log| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window_log).unwrap();
            // As much as the window holds, in parts: the frame cannot be one segment and says its window.
            for _ in 0..(1 << (window_log - 16)) {
                std::io::Write::write_all(&mut encoder, &[7; 1 << 16]).unwrap();
            }
            encoder.finish().unwrap()
        };
        let unpacked = |bytes: &[u8]| io::copy(&mut Compression::Zstd.reader(bytes).unwrap(), &mut io::sink());
        assert_eq!(unpacked(&packed(ZSTD_WINDOW_LOG_MAX)).unwrap(), 1 << 23);
        assert!(unpacked(&packed(ZSTD_WINDOW_LOG_MAX + 1)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_get_an_answer(bytes: Vec<u8>) {
            for coding in [Compression::Gzip, Compression::Deflate, Compression::Zstd] {
                let _ = coding.reader(&bytes).map(|reader| io::copy(&mut reader.take(1 << 20), &mut io::sink()));
            }
        }
    }
}
