//! How a value of a configuration file is read, written, and explained to somebody who wrote another one.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::key::{Entry, Fault, Record};

/// One way to write values of the type `T`.
pub(super) trait Codec<T> {
    /// Takes it from a file.
    fn read(&self, entry: &Entry<'_>) -> Result<T, Fault>;

    /// As it would stand in a file.
    fn print(&self, value: &T) -> String;

    /// What `read` accepts: the end of "allowed is".
    fn allowed(&self) -> String;

    /// Examples, for those who wrote something else.
    fn examples(&self) -> &'static str {
        ""
    }

    /// Says what came and what is allowed.
    fn refuse(&self, entry: &Entry<'_>) -> Fault {
        entry.refuse(&format!("{}{}", self.allowed(), self.examples()))
    }
}

/// What a whole number of a configuration can be held in.
pub(super) trait Number: Copy + fmt::Display + TryFrom<u64> + TryInto<u64> {}

impl<N: Copy + fmt::Display + TryFrom<u64> + TryInto<u64>> Number for N {}

/// A whole number in a range.
pub(super) struct Count(pub(super) RangeInclusive<u64>);

impl<N: Number> Codec<N> for Count {
    fn read(&self, entry: &Entry<'_>) -> Result<N, Fault> {
        let number = integer(entry).filter(|number| self.0.contains(number));
        number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| Codec::<N>::refuse(self, entry))
    }

    fn print(&self, value: &N) -> String {
        value.to_string()
    }

    fn allowed(&self) -> String {
        format!("a whole number, {}", bounds(&self.0, u64::to_string))
    }
}

/// A power of two in a range.
pub(super) struct PowerOfTwo(pub(super) RangeInclusive<u64>);

impl<N: Number> Codec<N> for PowerOfTwo {
    fn read(&self, entry: &Entry<'_>) -> Result<N, Fault> {
        let number = integer(entry).filter(|number| self.0.contains(number) && number.is_power_of_two());
        number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| Codec::<N>::refuse(self, entry))
    }

    fn print(&self, value: &N) -> String {
        value.to_string()
    }

    fn allowed(&self) -> String {
        format!("a power of two, {}", bounds(&self.0, u64::to_string))
    }
}

/// Bytes in a range: a number, or a text with a unit.
pub(super) struct Bytes(pub(super) RangeInclusive<u64>);

const BYTE_UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl<N: Number> Codec<N> for Bytes {
    fn read(&self, entry: &Entry<'_>) -> Result<N, Fault> {
        let bytes = match entry.value() {
            DeValue::String(text) => bytes_of(text),
            _ => integer(entry),
        };
        let bytes = bytes.filter(|bytes| self.0.contains(bytes)).and_then(|bytes| N::try_from(bytes).ok());
        bytes.ok_or_else(|| Codec::<N>::refuse(self, entry))
    }

    fn print(&self, value: &N) -> String {
        (*value).try_into().map_or_else(|_| value.to_string(), bytes_text)
    }

    fn allowed(&self) -> String {
        format!("bytes, {}", bounds(&self.0, |bytes| bytes_text(*bytes)))
    }

    fn examples(&self) -> &'static str {
        ", such as 4096 or \"4KiB\""
    }
}

fn bytes_of(text: &str) -> Option<u64> {
    let (digits, unit_bits) = BYTE_UNITS
        .iter()
        .find_map(|(unit, bits)| text.strip_suffix(unit).map(|digits| (digits.trim_end(), *bits)))
        .unwrap_or((text, 0));
    digits.parse::<u64>().ok()?.checked_mul(1 << unit_bits)
}

/// With the largest unit that leaves a whole number.
fn bytes_text(bytes: u64) -> String {
    let whole = |bits: &u32| bytes > 0 && bytes.is_multiple_of(1 << bits);
    match BYTE_UNITS.iter().find(|(_, bits)| whole(bits)) {
        Some((unit, bits)) => format!("\"{}{unit}\"", bytes >> bits),
        None => bytes.to_string(),
    }
}

/// A time in a range, always with its unit: a bare number would be a guess.
pub(super) struct Time(pub(super) RangeInclusive<Duration>);

impl Codec<Duration> for Time {
    fn read(&self, entry: &Entry<'_>) -> Result<Duration, Fault> {
        let time = entry.value().as_str().and_then(|text| humantime::parse_duration(text).ok());
        time.filter(|time| self.0.contains(time)).ok_or_else(|| self.refuse(entry))
    }

    fn print(&self, value: &Duration) -> String {
        quoted(&humantime::format_duration(*value).to_string())
    }

    fn allowed(&self) -> String {
        let text = |time: &Duration| humantime::format_duration(*time).to_string();
        let range = match (self.0.start(), self.0.end()) {
            (&Duration::ZERO, &Duration::MAX) => String::new(),
            (_, &Duration::MAX) => " above 0".to_owned(),
            (least, most) => format!(" from {} to {}", text(least), text(most)),
        };
        format!("a time{range}")
    }

    fn examples(&self) -> &'static str {
        ", with its unit, such as \"250ms\", \"10s\" or \"1m 30s\""
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Codec<bool> for Flag {
    fn read(&self, entry: &Entry<'_>) -> Result<bool, Fault> {
        entry.value().as_bool().ok_or_else(|| self.refuse(entry))
    }

    fn print(&self, value: &bool) -> String {
        value.to_string()
    }

    fn allowed(&self) -> String {
        "true or false".to_owned()
    }
}

/// A text with a meaning that `check` knows.
pub(super) struct Text {
    pub(super) allowed: &'static str,
    pub(super) check: fn(&str) -> bool,
}

impl Codec<String> for Text {
    fn read(&self, entry: &Entry<'_>) -> Result<String, Fault> {
        let text = entry.value().as_str().filter(|text| (self.check)(text));
        text.map(str::to_owned).ok_or_else(|| self.refuse(entry))
    }

    fn print(&self, value: &String) -> String {
        quoted(value)
    }

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }
}

/// The body of a packet: a text for its UTF-8, or a list of bytes.
pub(super) struct Body;

impl Codec<Vec<u8>> for Body {
    fn read(&self, entry: &Entry<'_>) -> Result<Vec<u8>, Fault> {
        let byte = |value: &DeValue<'_>| value.as_integer().and_then(|byte| byte_of(byte.as_str(), byte.radix()));
        let body = match entry.value() {
            DeValue::String(text) => Some(text.as_bytes().to_vec()),
            DeValue::Array(bytes) => bytes.iter().map(|value| byte(value.get_ref())).collect(),
            _ => None,
        };
        body.ok_or_else(|| self.refuse(entry))
    }

    fn print(&self, value: &Vec<u8>) -> String {
        match std::str::from_utf8(value) {
            Ok(text) => quoted(text),
            Err(_) => format!("{value:?}"),
        }
    }

    fn allowed(&self) -> String {
        "a text, or a list of bytes such as [0, 255]".to_owned()
    }
}

fn byte_of(digits: &str, radix: u32) -> Option<u8> {
    u8::from_str_radix(digits, radix).ok()
}

/// One of some words.
pub(super) struct Words<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Codec<T> for Words<T> {
    fn read(&self, entry: &Entry<'_>) -> Result<T, Fault> {
        let word = entry.value().as_str();
        let found = self.0.iter().find(|(name, _)| word == Some(name));
        found.map(|(_, value)| *value).ok_or_else(|| self.refuse(entry))
    }

    fn print(&self, value: &T) -> String {
        quoted(self.0.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name))
    }

    fn allowed(&self) -> String {
        self.0.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(" or ")
    }
}

/// A value, or a word for its absence.
pub(super) struct Or<C>(pub(super) &'static str, pub(super) C);

impl<T, C: Codec<T>> Codec<Option<T>> for Or<C> {
    fn read(&self, entry: &Entry<'_>) -> Result<Option<T>, Fault> {
        let absent = entry.value().as_str() == Some(self.0);
        if absent {
            return Ok(None);
        }
        // A text that is neither deserves to hear of both.
        match self.1.read(entry) {
            Ok(value) => Ok(Some(value)),
            Err(fault) if fault.concerns(entry) => Err(self.refuse(entry)),
            Err(fault) => Err(fault),
        }
    }

    fn print(&self, value: &Option<T>) -> String {
        value.as_ref().map_or_else(|| quoted(self.0), |value| self.1.print(value))
    }

    fn allowed(&self) -> String {
        format!("{}, or {}", quoted(self.0), self.1.allowed())
    }

    fn examples(&self) -> &'static str {
        self.1.examples()
    }
}

/// A table with keys of its own, written on one line.
pub(super) struct Inline;

impl<T: Record> Codec<T> for Inline {
    fn read(&self, entry: &Entry<'_>) -> Result<T, Fault> {
        let Some(table) = entry.value().as_table() else {
            return Err(Codec::<T>::refuse(self, entry));
        };
        let mut record = T::blank();
        super::key::read_table(table, &entry.path, &[T::KEYS], &mut record)?;
        if let Some(missing) = T::REQUIRED.iter().find(|name| !table.contains_key(**name)) {
            return Err(entry.fault(format!("{} has no {missing}", entry.path)));
        }
        match record.finish() {
            Ok(()) => Ok(record),
            Err(reason) => Err(entry.fault(format!("{}: {reason}", entry.path))),
        }
    }

    fn print(&self, value: &T) -> String {
        let pairs: Vec<String> = T::KEYS.iter().map(|key| format!("{} = {}", key.name, (key.print)(value))).collect();
        format!("{{ {} }}", pairs.join(", "))
    }

    fn allowed(&self) -> String {
        let names: Vec<&str> = T::KEYS.iter().map(|key| key.name).collect();
        format!("a table with {}", names.join(", "))
    }
}

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(character))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn integer(entry: &Entry<'_>) -> Option<u64> {
    entry.value().as_integer().and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok())
}

fn bounds(range: &RangeInclusive<u64>, text: impl Fn(&u64) -> String) -> String {
    match (*range.start(), *range.end()) {
        // No number beyond has a meaning anywhere: not worth a word.
        (least, most) if most >= u64::from(u32::MAX) => format!("{} or more", text(&least)),
        (least, most) => format!("{} to {}", text(&least), text(&most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units_if_they_leave_whole_numbers() {
        for (bytes, text) in [(0, "0"), (1, "1"), (1025, "1025"), (2048, "\"2KiB\""), (3 << 30, "\"3GiB\"")] {
            assert_eq!(bytes_text(bytes), text);
            assert_eq!(bytes_of(text.trim_matches('"')), Some(bytes));
        }
        for text in ["", "KiB", "-1KiB", "1.5KiB", "1kb", "18446744073709551615GiB"] {
            assert_eq!(bytes_of(text), None, "{text}");
        }
    }

    #[test]
    fn any_text_and_any_time_can_be_written() {
        let text: String = (0..300).filter_map(char::from_u32).collect();
        assert_eq!(DeValue::parse(&quoted(&text)).expect("TOML").get_ref().as_str(), Some(&*text));
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::from_nanos(123_456_789_012_345), Duration::MAX]
        {
            let text = humantime::format_duration(time).to_string();
            assert_eq!(humantime::parse_duration(&text).expect("a time"), time, "{text}");
        }
    }
}
