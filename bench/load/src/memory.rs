//! The memory that sessions take: the server's own, and the kernel's for their connections.

use std::fs::read_to_string;
use std::io;

use crate::kernel_text::{line_number, word_number};

#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What the server has for itself alone: its private pages, written to or not.
    pub user_bytes: Option<u64>,
    /// Of the whole machine: objects of the kernel, and what connections have queued or reserved.
    pub kernel_bytes: u64,
}

impl Memory {
    /// `server`: its process.
    pub fn look(server: Option<i32>) -> io::Result<Memory> {
        let slab_kilobytes = line_number(&read_to_string("/proc/meminfo")?, "Slab")?;
        let tcp_pages = word_number(&read_to_string("/proc/net/sockstat")?, "TCP", "mem")?;
        Ok(Memory {
            user_bytes: server.map(private_bytes).transpose()?,
            kernel_bytes: slab_kilobytes * 1024 + tcp_pages * rustix::param::page_size() as u64,
        })
    }
}

fn private_bytes(process: i32) -> io::Result<u64> {
    let text = read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    Ok((line_number(&text, "Private_Clean")? + line_number(&text, "Private_Dirty")?) * 1024)
}
