//! Random bytes.

use std::io;

/// Fills an array from the system's random generator.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    keys::random::<N>().map(|bytes| *bytes).map_err(io::Error::other)
}
