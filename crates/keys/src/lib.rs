//! Keys: what unlocks everything that this program writes, and what is destroyed when something must be forgotten.
