//! Promises of the lease machine.
