//! Evidence: bundles that hand records to somebody else, with proofs that hold without us.
