//! The gateway over real sockets: a client and an upstream that say every byte themselves, and a recorder that waits
//! when it is told to.

mod commit;
mod evasion;
mod hostile;
mod policy;
mod realtime;
mod support;
mod traffic;
pub(super) mod warden;
