//! Leases read from answers.
