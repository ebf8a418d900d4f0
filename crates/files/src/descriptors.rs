//! Whether files cannot be opened because too many are open: a state that ends.

use std::io;

use rustix::io::Errno;

/// Whether an error says that this process, or the machine, has too many files open (`EMFILE`, `ENFILE`).
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_open_files_are_told_from_other_errors() {
        for (errno, is_out) in [(Errno::MFILE, true), (Errno::NFILE, true), (Errno::IO, false), (Errno::NOENT, false)] {
            assert_eq!(is_out_of_descriptors(&errno.into()), is_out, "{errno:?}");
        }
        assert!(!is_out_of_descriptors(&io::Error::other("broken")));
    }
}
