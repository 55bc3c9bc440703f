//! Keys: what a table of a configuration file may hold, and what is said about anything else.

use std::fmt::Write;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A key of a table whose values are kept in a `T`.
pub(super) struct Key<T> {
    pub(super) name: &'static str,
    /// What it bounds or chooses, its unit, and what happens there.
    pub(super) comment: &'static str,
    pub(super) allowed: fn() -> String,
    pub(super) read: fn(&mut T, &Entry<'_>) -> Result<(), Fault>,
    pub(super) print: fn(&T) -> String,
}

/// Keys for fields that have their names: `keys!(Type, |it| it.part; name = codec, "comment"; ...)`.
macro_rules! keys {
    ($of:ty, |$it:ident| $place:expr; $($name:ident: $type:ty = $codec:expr, $comment:literal;)*) => {
        &[$(Key {
            name: stringify!($name),
            comment: $comment,
            allowed: || Codec::<$type>::allowed(&$codec),
            read: |$it: &mut $of, entry| {
                $place.$name = Codec::<$type>::read(&$codec, entry)?;
                Ok(())
            },
            print: |$it: &$of| Codec::<$type>::print(&$codec, &$place.$name),
        },)*]
    };
}
pub(super) use keys;

/// A value that is a small table.
pub(super) trait Record: Sized + 'static {
    const KEYS: &'static [Key<Self>];
    /// Those without which it means nothing.
    const REQUIRED: &'static [&'static str];

    /// What the keys are written over.
    fn blank() -> Self;

    /// Settles what was left open, or says what the keys contradict each other in.
    fn finish(&mut self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// A value in a file, and where it stands.
pub(super) struct Entry<'a> {
    /// Its tables and its key.
    pub(super) path: String,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

/// What is wrong in a file, and where.
#[derive(Debug)]
pub(super) struct Fault {
    /// Bytes from the beginning of the file.
    pub(super) offset: usize,
    pub(super) sentence: String,
    /// True if it is a value as a whole that is not allowed.
    whole_value: bool,
}

impl Entry<'_> {
    pub(super) fn value(&self) -> &DeValue<'_> {
        self.value.get_ref()
    }

    pub(super) fn fault(&self, sentence: String) -> Fault {
        Fault::at(self.value.span().start, sentence)
    }

    /// Says what came and what is allowed.
    pub(super) fn refuse(&self, allowed: &str) -> Fault {
        let sentence = format!("{} is {}, allowed is {allowed}", self.path, in_words(self.value()));
        Fault { whole_value: true, ..self.fault(sentence) }
    }
}

impl Fault {
    /// What stands in the file comes into the sentence, but nothing that a terminal obeys.
    pub(super) fn at(offset: usize, sentence: String) -> Fault {
        let mut readable = String::with_capacity(sentence.len());
        for character in sentence.chars() {
            match character.is_control() {
                true => readable.extend(character.escape_default()),
                false => readable.push(character),
            }
        }
        Fault { offset, sentence: readable, whole_value: false }
    }

    /// True if it says no more than that this value is not allowed.
    pub(super) fn concerns(&self, entry: &Entry<'_>) -> bool {
        self.whole_value && self.offset == entry.value.span().start
    }
}

fn in_words(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > 60 => "a long text".to_owned(),
        DeValue::String(text) => super::codec::quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The entries of a table in the order of the file, so that the first mistake is the one that is named.
pub(super) fn entries<'a>(table: &'a DeTable<'a>, path: &str) -> Vec<(usize, &'a str, Entry<'a>)> {
    let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
        let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
        let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        (key.span().start, &**name, Entry { path, value })
    };
    let mut entries: Vec<_> = table.iter().map(entry).collect();
    entries.sort_by_key(|(offset, ..)| *offset);
    entries
}

/// Writes what a table says over `target`.
pub(super) fn read_table<T>(table: &DeTable<'_>, path: &str, keys: &[&[Key<T>]], target: &mut T) -> Result<(), Fault> {
    for (offset, name, entry) in entries(table, path) {
        let key = keys.iter().copied().flatten().find(|key| key.name == name);
        let Some(key) = key else {
            let names: Vec<&str> = keys.iter().copied().flatten().map(|key| key.name).collect();
            return Err(unknown_key(offset, name, path, &names));
        };
        (key.read)(target, &entry)?;
    }
    Ok(())
}

fn unknown_key(offset: usize, name: &str, path: &str, names: &[&str]) -> Fault {
    let mut sentence = format!("unknown key {name:?} in [{path}]");
    if let Some(table) = super::keys::table_of(name) {
        let _ = write!(sentence, " (it belongs into [{table}])");
    } else if let Some(neighbour) = nearest(name, names) {
        let _ = write!(sentence, " (did you mean {neighbour:?}?)");
    }
    Fault::at(offset, sentence)
}

/// The name that is most like `name`, letter by letter or word by word in any order.
pub(crate) fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let sorted = |text: &str| {
        let lower = text.to_lowercase();
        let mut words: Vec<&str> = lower.split(['_', '-', '.', ' ']).collect();
        words.sort_unstable();
        words.join("_")
    };
    let likeness = |known: &str| {
        let by_letters = strsim::normalized_damerau_levenshtein(name, known);
        by_letters.max(strsim::normalized_damerau_levenshtein(&sorted(name), &sorted(known)))
    };
    names.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// Columns of a file that is written for people.
const WIDTH: usize = 110;

/// A table as it would stand in a file, every key under its comment.
pub(super) fn print_table<T>(text: &mut String, path: &str, keys: &[&[Key<T>]], values: &T, defaults: &T) {
    let _ = writeln!(text, "\n[{path}]");
    for key in keys.iter().copied().flatten() {
        let (allowed, default) = ((key.allowed)(), (key.print)(defaults));
        let mut paragraphs = key.comment.split('\n');
        let first = paragraphs.next().unwrap_or_default();
        print_comment(text, &format!("{first} Allowed: {allowed}. Default: {default}."));
        paragraphs.for_each(|paragraph| print_comment(text, paragraph));
        let _ = writeln!(text, "{} = {}", key.name, (key.print)(values));
    }
}

pub(super) fn print_comment(text: &mut String, comment: &str) {
    let mut line = "#".to_owned();
    for word in comment.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line.truncate(1);
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn words_in_another_order_are_near() {
        let names = ["sessions_max", "send_bytes_max", "idle_timeout", "nodelay", "listen"];
        for (typed, meant) in [
            ("max_sessions", "sessions_max"),
            ("idle_timout", "idle_timeout"),
            ("idleTimeout", "idle_timeout"),
            ("NoDelay", "nodelay"),
            ("lisen", "listen"),
            ("send-bytes-max", "send_bytes_max"),
        ] {
            assert_eq!(nearest(typed, &names), Some(meant));
        }
        assert_eq!(nearest("anything", &[]), None);
    }
}
