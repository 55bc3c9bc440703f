//! Numbers out of the texts by which the kernel tells of itself.

use std::io::{self, ErrorKind};

/// The first number of a line that begins with `name:`, as in `meminfo` and `smaps_rollup`; kilobytes there.
pub fn line_number(text: &str, name: &str) -> io::Result<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    number(rest.and_then(|rest| rest.split_whitespace().next()), name)
}

/// The number behind a word in a line that begins with `line:`, as in `sockstat`.
pub fn word_number(text: &str, line: &str, name: &str) -> io::Result<u64> {
    let rest = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
    let mut words = rest.unwrap_or_default().split_whitespace();
    number(words.find(|word| *word == name).and_then(|_| words.next()), name)
}

/// The number below a column's head in the two lines that begin with `table:`, as in `netstat`.
pub fn column_number(text: &str, table: &str, name: &str) -> io::Result<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(table)?.strip_prefix(':'));
    let (heads, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut columns = heads.split_whitespace().zip(numbers.split_whitespace());
    number(columns.find(|(head, _)| *head == name).map(|(_, number)| number), name)
}

fn number(word: Option<&str>, name: &str) -> io::Result<u64> {
    let parsed = word.and_then(|word| word.parse().ok());
    parsed.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("the kernel does not tell {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       24683012 kB\nSlab:             908660 kB\nSReclaimable:     900000 kB\n";
    const SMAPS_ROLLUP: &str = "55cc2c45a000-7ffdd712a000 ---p 00000000 00:00 0                          [rollup]\n\
        Rss:                1764 kB\nPrivate_Clean:        44 kB\nPrivate_Dirty:       112 kB\nPrivate_Hugetlb: 0 kB\n";
    const SOCKSTAT: &str = "sockets: used 15\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 38\nUDP: inuse 2 mem 7\n";
    const NETSTAT: &str = "TcpExt: SyncookiesSent ListenOverflows TCPSynRetrans\nTcpExt: 1 22 333\n\
        IpExt: InNoRoutes ListenOverflows\nIpExt: 4 55\n";

    #[test]
    fn a_line_is_known_by_its_whole_name() {
        assert_eq!(line_number(MEMINFO, "Slab").expect("there"), 908_660);
        assert_eq!(line_number(SMAPS_ROLLUP, "Private_Clean").expect("there"), 44);
        assert_eq!(line_number(SMAPS_ROLLUP, "Private_Dirty").expect("there"), 112);
        assert!(["Private", "Sla", "Anonymous"].map(|name| line_number(SMAPS_ROLLUP, name).is_err()) == [true; 3]);
        assert!(line_number("Slab: much kB", "Slab").is_err());
    }

    #[test]
    fn a_word_is_of_its_line() {
        assert_eq!(word_number(SOCKSTAT, "TCP", "mem").expect("there"), 38);
        assert_eq!(word_number(SOCKSTAT, "UDP", "mem").expect("there"), 7);
        assert!(word_number(SOCKSTAT, "TCP", "memory").is_err());
        assert!(word_number(SOCKSTAT, "UDP", "alloc").is_err(), "that is of another line");
        assert!(word_number("TCP: mem", "TCP", "mem").is_err());
    }

    #[test]
    fn a_column_is_of_its_table() {
        assert_eq!(column_number(NETSTAT, "TcpExt", "TCPSynRetrans").expect("there"), 333);
        assert_eq!(column_number(NETSTAT, "TcpExt", "ListenOverflows").expect("there"), 22);
        assert_eq!(column_number(NETSTAT, "IpExt", "ListenOverflows").expect("there"), 55);
        assert!(column_number(NETSTAT, "TcpExt", "InNoRoutes").is_err());
        assert!(column_number("TcpExt: A B\nTcpExt: 1\n", "TcpExt", "B").is_err(), "its number is missing");
    }

    #[test]
    fn this_kernel_tells_all_of_it() {
        let read = |path| std::fs::read_to_string(path).expect(path);
        assert!(line_number(&read("/proc/meminfo"), "Slab").expect("told") > 0);
        assert!(line_number(&read("/proc/self/smaps_rollup"), "Private_Dirty").expect("told") > 0);
        word_number(&read("/proc/net/sockstat"), "TCP", "mem").expect("told");
        column_number(&read("/proc/net/netstat"), "TcpExt", "TCPSynRetrans").expect("told");
        column_number(&read("/proc/net/netstat"), "TcpExt", "ListenOverflows").expect("told");
    }
}
