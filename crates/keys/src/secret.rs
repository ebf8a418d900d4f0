//! Secret bytes: overwritten when they are dropped, never printed.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::KeysError;

/// A key of 256 bits. Overwritten when it is dropped.
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// A key from the system's random generator.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn random() -> Result<Self, KeysError> {
        Ok(Self(random()?))
    }

    /// Takes 32 bytes as a key.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Takes a slice as a key; `None` when it has not 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self::new(bytes.try_into().ok()?))
    }

    /// The bytes, for the cipher that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Tells that there is a key, and nothing of it.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Random bytes of the system's generator, overwritten when they are dropped.
///
/// # Errors
/// [`KeysError::Random`].
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeysError> {
    let mut bytes = Zeroizing::new([0; N]);
    aws_lc_rs::rand::fill(&mut bytes[..]).map_err(|_| KeysError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_random_and_does_not_print_itself() {
        let (a, b) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(a.expose(), b.expose());
        assert_eq!(format!("{a:?}"), "Secret(..)");
        assert!(Secret::from_slice(&[0; 31]).is_none());
        assert_eq!(Secret::from_slice(a.expose()).unwrap().expose(), a.expose());
    }
}
