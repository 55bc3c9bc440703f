//! What the io_uring driver leans on, asked of the kernel directly. A kernel that differs fails here, by name, rather than
//! as a riddle in the driver. Where an operation form is optional, refusing it is fine as long as the probe at start noticed.
#![cfg(target_os = "linux")]

mod forms;
mod kernel;
mod receiving;
mod waiting;
