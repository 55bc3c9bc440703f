//! A lexer of Rust that knows just enough to tell code from comments and literals: a search by lines does not.

/// What a token is. Literals of every kind are one: no rule looks into them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind<'a> {
    /// A keyword or identifier; a raw one keeps its `r#`, so that it is never taken for the keyword.
    Word(&'a str),
    Mark(char),
    Comment(&'a str),
    Literal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token<'a> {
    pub kind: Kind<'a>,
    /// From 1.
    pub line: usize,
    /// Where it begins and ends, in bytes.
    start: usize,
    end: usize,
}

impl Token<'_> {
    pub fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word(word)
    }

    pub fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    pub fn is_comment(&self) -> bool {
        matches!(self.kind, Kind::Comment(_))
    }
}

/// The tokens of a file that compiles; blanks are left out.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, kind) = next(rest, first);
        let end = at + length;
        if !first.is_whitespace() {
            found.push(Token { kind, line, start: at, end });
        }
        line += text[at..end].matches('\n').count();
        at = end;
    }
    found
}

/// The text with blanks in the place of comments and literals: lines and columns stay.
pub fn code(text: &str) -> String {
    let mut code = text.as_bytes().to_vec();
    for token in tokens(text) {
        if matches!(token.kind, Kind::Comment(_) | Kind::Literal) {
            code[token.start..token.end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
    }
    String::from_utf8(code).expect("whole tokens were replaced")
}

fn next(rest: &str, first: char) -> (usize, Kind<'_>) {
    if rest.starts_with("//") {
        let length = rest.find('\n').unwrap_or(rest.len());
        return (length, Kind::Comment(&rest[..length]));
    }
    if rest.starts_with("/*") {
        let length = block_comment(rest);
        return (length, Kind::Comment(&rest[..length]));
    }
    if let Some(length) = string(rest) {
        return (length, Kind::Literal);
    }
    if let Some(length) = rest.strip_prefix('\'').and_then(character) {
        return (1 + length, Kind::Literal);
    }
    if let Some(name) = rest.strip_prefix("r#").filter(|name| name.starts_with(is_of_a_word)) {
        let length = 2 + word(name);
        return (length, Kind::Word(&rest[..length]));
    }
    if first.is_ascii_digit() {
        // Its point and sign are marks of their own: nobody here asks for the number.
        return (word(rest), Kind::Literal);
    }
    if is_of_a_word(first) {
        let length = word(rest);
        return (length, Kind::Word(&rest[..length]));
    }
    (first.len_utf8(), Kind::Mark(first))
}

fn is_of_a_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn word(rest: &str) -> usize {
    rest.find(|character| !is_of_a_word(character)).unwrap_or(rest.len())
}

/// They nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string, byte string, C string or raw form of them that `rest` begins with.
fn string(rest: &str) -> Option<usize> {
    let opening = ["br", "cr", "r", "b", "c", ""].into_iter().find(|opening| {
        let behind = rest.strip_prefix(opening);
        let raw = opening.ends_with('r');
        behind.is_some_and(|behind| if raw { behind.trim_start_matches('#') } else { behind }.starts_with('"'))
    });
    let Some(opening) = opening else {
        let length = rest.strip_prefix("b'").and_then(character)?;
        return Some(2 + length);
    };
    let behind = &rest[opening.len()..];
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let inner = opening.len() + hashes + 1;
    if opening.ends_with('r') {
        let closing = format!("\"{}", "#".repeat(hashes));
        return Some(rest[inner..].find(&closing).map_or(rest.len(), |at| inner + at + closing.len()));
    }
    let mut escaped = false;
    let closing = rest[inner..].find(|character| {
        let ends = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    Some(closing.map_or(rest.len(), |at| inner + at + 1))
}

/// The length of a character behind its opening quote, the closing one included. `None` for a lifetime.
fn character(behind: &str) -> Option<usize> {
    let mut characters = behind.char_indices();
    let (_, first) = characters.next()?;
    if first == '\\' {
        characters.next()?;
        return characters.find(|(_, character)| *character == '\'').map(|(at, _)| at + 1);
    }
    let (at, second) = characters.next()?;
    (second == '\'').then_some(at + 1)
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = r##"let a = "unsafe { \" // "; /* unsafe /* nested */ unsafe */ b'\''; 'x: loop {} r#"unsafe"# r#unsafe '"' c"##;
    let code = code(text);
    assert_eq!(code.len(), text.len());
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(words.join(" "), "let a = ; ; 'x: loop {} r#unsafe c");
}

#[test]
fn lines_are_counted_through_strings_and_comments() {
    let last = |text| tokens(text).last().map(|token| (token.line, token.is("here")));
    assert_eq!(last("\"\n\\\"\n\" /* \n */ // \n here"), Some((5, true)));
    assert_eq!(last("'\\u{1F600}' '\u{1F600}' '\\\\' \n here"), Some((2, true)));
}
