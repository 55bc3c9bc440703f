//! Numbers and times for people.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1` as `1 session`, `2` as `2 sessions`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Bytes with a unit that keeps the number short.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return counted(number, "byte");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A short time with a unit that keeps the number short.
pub(crate) fn latency(latency: Duration) -> String {
    match latency.as_nanos() {
        0..1_000_000 => format!("{:.1} us", latency.as_secs_f64() * 1e6),
        1_000_000..1_000_000_000 => format!("{:.2} ms", latency.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", latency.as_secs_f64()),
    }
}

/// Seconds, with as many digits as a reader needs.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let texts: Vec<String> = [0, 999, 1000, 1234567].into_iter().map(grouped).collect();
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(
            [counted(0, "frame"), counted(1, "frame"), counted(2, "frame")],
            ["0 frames", "1 frame", "2 frames"]
        );
    }

    #[test]
    fn units_keep_numbers_short() {
        assert_eq!([bytes(1023), bytes(1536), bytes(3 << 30)], ["1,023 bytes", "1.5 KiB", "3.0 GiB"]);
        assert_eq!(
            [1500, 2_500_000, 61_000_000_000].map(Duration::from_nanos).map(latency),
            ["1.5 us", "2.50 ms", "61.00 s"]
        );
    }
}
