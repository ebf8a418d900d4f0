//! The archive: sealed spans of the journal as encrypted Parquet segments, on disk or in an object store, for years.
