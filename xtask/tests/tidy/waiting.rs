//! What a test waits with: events, with a time limit as an upper bound. A wait that passes because nothing came is a delay.
//!
//! Told here: sleeps by any name (in tests the word itself is looked for, elsewhere the one of `thread`, also in an import,
//! so that another name for it is found where it is given), `park_timeout`, and waits with a limit whose outcome is thrown away or is expected to be a timeout. Not told:
//! a read with a time limit on a socket, which looks the same whether it bounds a wait or is one.

use crate::lexer::{Kind, Token, code, tokens};

/// Neither in tests nor in what they test; there may be others of that name there.
const SLEEPS: [&str; 5] = ["sleep", "sleep_ms", "nanosleep", "clock_nanosleep", "usleep"];

/// Not in tests.
const DELAYS: [&str; 2] = ["park_timeout", "park_timeout_ms"];

/// Fine as an upper bound.
const BOUNDED: [&str; 5] = ["recv_timeout", "recv_deadline", "wait_timeout", "wait_timeout_while", "wait_timeout_ms"];

/// What is asked of an outcome that should be a timeout, or does not matter.
const EXPECTS_NOTHING: [&str; 5] = ["is_err", "is_err_and", "unwrap_err", "expect_err", "err"];

/// Lines that sleep or delay, with what they do it with. `is_test`: the whole file is test code; else what stands under
/// `#[cfg(test)]` is.
pub fn delays(text: &str, is_test: bool) -> Vec<(usize, &'static str)> {
    let tokens: Vec<Token<'_>> = tokens(text).into_iter().filter(|token| !token.is_comment()).collect();
    let tested = tested(&tokens);
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Kind::Word(word) = token.kind else { continue };
        let one_of = |words: &'static [&'static str]| words.iter().find(|banned| **banned == word).copied();
        let in_test = is_test || tested.iter().any(|range| range.contains(&index));
        let sleeps = one_of(&SLEEPS).filter(|_| in_test || is_of_a_thread(&tokens, index));
        let banned = sleeps.or_else(|| {
            let bounded = || one_of(&BOUNDED).filter(|_| is_delay(&tokens, index));
            if in_test { one_of(&DELAYS).or_else(bounded) } else { None }
        });
        found.extend(banned.map(|banned| (token.line, banned)));
    }
    found
}

/// Whether the word is `thread::word`, or is imported in a `use` that names `thread` or the system's calls.
fn is_of_a_thread(tokens: &[Token<'_>], at: usize) -> bool {
    let owns = |token: &Token<'_>| ["thread", "libc", "rustix"].iter().any(|owner| token.is(owner));
    if let [.., owner, one, other] = &tokens[..at]
        && one.is_mark(':')
        && other.is_mark(':')
        && owns(owner)
    {
        return true;
    }
    let begins = tokens[..at].iter().rposition(|token| token.is_mark(';')).map_or(0, |before| before + 1);
    let statement = &tokens[begins..at];
    let imports = statement.iter().rposition(|token| token.is("use"));
    imports.is_some_and(|imports| statement[imports..].iter().any(owns))
}

/// Where modules, functions and the like stand under `#[cfg(test)]`.
fn tested(tokens: &[Token<'_>]) -> Vec<std::ops::Range<usize>> {
    let attribute = ["cfg", "(", "test", ")", "]"];
    let is = |token: &Token<'_>, text: &str| token.is(text) || text.chars().all(|mark| token.is_mark(mark));
    let begins = |at: &usize| {
        let behind = tokens.get(*at..*at + attribute.len());
        behind.is_some_and(|behind| behind.iter().zip(attribute).all(|(token, text)| is(token, text)))
    };
    let block = |at: usize| {
        let opens = (at..tokens.len()).find(|index| tokens[*index].is_mark('{') || tokens[*index].is_mark(';'))?;
        tokens[opens].is_mark('{').then(|| opens..closing(tokens, opens, '{', '}'))
    };
    (0..tokens.len()).filter(begins).filter_map(block).collect()
}

/// Where the bracket at `opens` is closed.
fn closing(tokens: &[Token<'_>], opens: usize, open: char, close: char) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(opens) {
        depth += usize::from(token.is_mark(open));
        depth -= usize::from(token.is_mark(close));
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

/// Whether the wait at `name` passes when nothing comes: its outcome is dropped, or is to be an error.
fn is_delay(tokens: &[Token<'_>], name: usize) -> bool {
    if !tokens.get(name + 1).is_some_and(|token| token.is_mark('(')) {
        return false;
    }
    let end = closing(tokens, name + 1, '(', ')') + 1;
    let behind = tokens.get(end..).unwrap_or_default();
    match behind {
        [dot, asks, ..] if dot.is_mark('.') && EXPECTS_NOTHING.iter().any(|word| asks.is(word)) => true,
        [comma, error, ..] if comma.is_mark(',') && error.is("Err") => true,
        [equals, again, error, ..] if equals.is_mark('=') && again.is_mark('=') && error.is("Err") => true,
        [semicolon, ..] if semicolon.is_mark(';') => is_dropped(tokens, name),
        [dot, ok, _, _, semicolon, ..] if dot.is_mark('.') && ok.is("ok") && semicolon.is_mark(';') => {
            is_dropped(tokens, name)
        }
        _ => false,
    }
}

/// Whether the statement that ends with this call gives its value to nobody.
fn is_dropped(tokens: &[Token<'_>], name: usize) -> bool {
    let ends = |token: &Token<'_>| [';', '{', '}'].iter().any(|mark| token.is_mark(*mark));
    let begins = tokens[..name].iter().rposition(ends).map_or(0, |before| before + 1);
    let statement = &tokens[begins..name];
    let binds = statement.iter().any(|token| token.is_mark('=') || token.is("return") || token.is("break"));
    match statement {
        [bind, nothing, ..] if bind.is("let") && nothing.is("_") => true,
        _ => !binds,
    }
}

#[test]
fn sleeps_are_found_by_any_name_and_not_in_comments() {
    assert_eq!(delays("use std::thread::sleep as nap;\nnap(x);", false), [(1, "sleep")]);
    assert_eq!(delays("thread :: sleep (x); // sleep\n\"sleep\"; fn sleep_until() {} asleep();", true), [(1, "sleep")]);
    assert_eq!(delays("use std::{fmt, thread::{self, sleep as nap}};\nthread::sleep(x);", false).len(), 2);
    assert_eq!(delays("use std::thread; fn sleep(&mut self) { self.sleep = true; port.sleep(); }", false), []);
}

#[test]
fn a_wait_whose_outcome_does_not_matter_is_a_delay() {
    for delay in [
        "let _ = told.recv_timeout(LONG);",
        "told.recv_timeout(f(1, 2));",
        "told.recv_timeout(LONG).ok();",
        "let _ = told.recv_timeout(LONG).ok();",
        "assert!(told.recv_timeout(LONG).is_err());",
        "assert_eq!(told.recv_timeout(LONG), Err(Timeout));",
        "assert!(told.recv_timeout(LONG) == Err(Timeout));",
        "let error = told.recv_timeout(LONG).unwrap_err();",
        "let _unused = 1; ringing.wait_timeout(guard, LONG);",
        "std::thread::park_timeout(LONG);",
    ] {
        assert_eq!(delays(delay, true).len(), 1, "{delay}");
        assert_eq!(delays(&format!("#[cfg(test)]\nmod tests {{ fn f() {{ {delay} }} }}"), false).len(), 1, "{delay}");
        assert_eq!(delays(&format!("#[cfg(test)]\nmod tests;\nfn f() {{ {delay} }}"), false), [], "{delay}");
    }
}

#[test]
fn an_upper_bound_on_a_wait_for_an_event_is_fine() {
    for bounded in [
        "told.recv_timeout(PATIENCE).expect(\"told\");",
        "assert_eq!(told.recv_timeout(PATIENCE), Ok(10));",
        "while let Ok(line) = told.recv_timeout(PATIENCE) { lines.push(line); }",
        "let line = told.recv_timeout(PATIENCE);",
        "let guard = ringing.wait_timeout(guard, PATIENCE).unwrap();",
        "fn f() -> Line { told.recv_timeout(PATIENCE)? }",
    ] {
        assert_eq!(delays(bounded, true), [], "{bounded}");
    }
}

#[test]
fn what_is_not_code_is_not_searched() {
    assert!(!code("// park_timeout\n\"sleep\"").contains("sleep"));
}
