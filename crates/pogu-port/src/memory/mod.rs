//! Memory that the kernel may touch.
