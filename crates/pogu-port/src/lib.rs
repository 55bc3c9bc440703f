//! pogu-port
