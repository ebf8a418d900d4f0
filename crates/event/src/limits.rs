//! Limits on the shape of an event. Every one of them is enforced where foreign bytes are decoded.

/// Deepest nesting of a [`Value`](crate::Value). Deeper structures are kept as JSON text, which is bounded by its length.
pub const VALUE_DEPTH_MAX: usize = 32;

/// Most attributes (canonical and unmapped together) of one event. OTel SDKs stop at 128 by default.
pub const ATTRIBUTES_MAX: usize = 1_024;

/// Most pieces of content in one event: a long agent conversation has a few thousand messages.
pub const PIECES_MAX: usize = 16_384;

/// Longest text of one piece of content, in bytes. Longer text is cut at a character boundary, and the cut is recorded.
pub const CONTENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest key of a canonical attribute, in bytes.
pub const KEY_BYTES_MAX: usize = 128;

/// Longest chain of delegation (agents acting for agents).
pub const DELEGATION_MAX: usize = 32;
