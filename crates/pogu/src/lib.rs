//! pogu
