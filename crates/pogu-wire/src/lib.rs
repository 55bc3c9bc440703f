//! pogu-wire
