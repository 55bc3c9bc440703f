//! Unsafe sites and the comments that justify them, one to one.
//!
//! A site is every keyword `unsafe` but the one of a function *type*: blocks, functions, implementations, traits, extern
//! blocks and what is in them, attributes; inside of macros too. The comment that justifies a site stands directly above
//! the statement or item that the site is in: no statement ends, and no block begins or ends, between the two.

use crate::lexer::{Kind, Token, tokens};

/// What a file came to.
#[derive(Default)]
pub struct Account {
    pub sites: usize,
    pub comments: usize,
    /// `line: what is wrong`.
    pub offences: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Justification {
    /// `// SAFETY: why`: for every site.
    Safety,
    /// `/// # Safety`: what the caller of a function or the implementor of a trait promises.
    Contract,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Site {
    /// A function or a trait: others keep its contract.
    Declaration,
    /// A type of functions: nothing happens there.
    Type,
    Other,
}

/// What the tokens behind an `unsafe` make of it.
fn site(behind: &[Token<'_>]) -> Site {
    let code: Vec<&Token<'_>> = behind.iter().filter(|token| !token.is_comment()).take(4).collect();
    // Behind `extern` the name of the convention may be left out.
    let code = match code.as_slice() {
        [first, second, rest @ ..] if first.is("extern") && second.kind == Kind::Literal => rest,
        [first, rest @ ..] if first.is("extern") => rest,
        all => all,
    };
    match code {
        [first, second, ..] if first.is("fn") && second.is_mark('(') => Site::Type,
        [first, ..] if first.is("fn") || first.is("trait") || first.is("auto") => Site::Declaration,
        _ => Site::Other,
    }
}

fn justification(comment: &str) -> Option<Justification> {
    let text = comment.trim_start_matches(['/', '*', '!']).trim();
    if let Some(why) = text.strip_prefix("SAFETY:") {
        return (!why.trim().is_empty()).then_some(Justification::Safety);
    }
    (comment.starts_with("///") && text == "# Safety").then_some(Justification::Contract)
}

pub fn account(text: &str) -> Account {
    let mut account = Account::default();
    let mut waiting: Option<(Justification, usize)> = None;
    // What is open: a semicolon between square brackets, as in `[u8; 2]`, ends nothing.
    let mut open = Vec::new();
    let tokens = tokens(text);
    for (index, token) in tokens.iter().enumerate() {
        let line = token.line;
        let idle = |at: usize| format!("{at}: a SAFETY comment of nothing");
        match token.kind {
            Kind::Mark(mark @ ('(' | '[' | '{')) => open.push(mark),
            Kind::Mark(')' | ']' | '}') => drop(open.pop()),
            _ => {}
        }
        match token.kind {
            Kind::Comment(comment) => {
                if let Some(found) = justification(comment) {
                    account.comments += 1;
                    account.offences.extend(waiting.replace((found, line)).map(|(_, at)| idle(at)));
                }
            }
            Kind::Word("unsafe") => {
                let site = site(&tokens[index + 1..]);
                if site == Site::Type {
                    continue;
                }
                account.sites += 1;
                match waiting.take() {
                    Some((Justification::Safety, _)) => {}
                    Some((Justification::Contract, _)) if site == Site::Declaration => {}
                    _ => account.offences.push(format!("{line}: unsafe without a SAFETY comment of its own")),
                }
            }
            Kind::Mark(';') if open.last() == Some(&'[') => {}
            Kind::Mark(';' | '{' | '}') => account.offences.extend(waiting.take().map(|(_, at)| idle(at))),
            _ => {}
        }
    }
    account.offences.extend(waiting.map(|(_, at)| format!("{at}: a SAFETY comment of nothing")));
    account
}

fn lines_of(text: &str) -> Vec<usize> {
    let line = |offence: &String| offence.split(':').next().and_then(|line| line.parse().ok());
    account(text).offences.iter().filter_map(line).collect()
}

#[test]
fn a_justified_site_of_every_kind_is_fine() {
    let text = "
        // SAFETY: nobody else has it.
        let a = call(unsafe { b });
        // SAFETY: it is only moved,
        // over two lines.
        #[cfg(unix)]
        unsafe impl Send for A {}
        /// Does it.
        ///
        /// # Safety
        /// The caller knows.
        #[inline]
        pub unsafe fn f() {}
        /// # Safety
        /// The implementor knows.
        pub unsafe trait T {}
        // SAFETY: the name is ours.
        #[unsafe(no_mangle)]
        extern \"C\" fn g() {}
        // SAFETY: so says the header.
        unsafe extern \"C\" {}
        type F = unsafe fn(u8); type G = unsafe extern \"C\" fn();
        const A: &str = \"unsafe {\"; // unsafe {
    ";
    let account = account(text);
    assert_eq!((account.sites, account.comments, account.offences), (6, 6, Vec::new()));
}

#[test]
fn a_missing_comment_is_caught_at_every_kind_of_site() {
    for bare in [
        "let a = unsafe { b };",
        "unsafe impl Send for A {}",
        "pub unsafe fn f() {}",
        "unsafe extern \"C\" fn f() {}",
        "unsafe trait T {}",
        "unsafe extern \"C\" {}",
        "unsafe extern {}",
        "#[unsafe(no_mangle)] fn f() {}",
        "macro_rules! m { () => { unsafe { a() } } }",
        "unsafe /* why not */ {}",
        "unsafe\n{}",
    ] {
        assert_eq!(lines_of(&format!("\n{bare}")), [2], "{bare}");
    }
}

#[test]
fn two_sites_need_two_comments_also_on_one_line() {
    assert_eq!(lines_of("// SAFETY: once.\nf(unsafe { a }, unsafe { b });"), [2]);
    assert_eq!(lines_of("// SAFETY: once.\nunsafe { a };\nunsafe { b };"), [3]);
    assert_eq!(lines_of("f(\n// SAFETY: a.\nunsafe { a },\n// SAFETY: b.\nunsafe { b });"), [0; 0]);
}

#[test]
fn a_comment_that_is_not_directly_above_does_not_count() {
    assert_eq!(lines_of("// SAFETY: far.\nlet a = 1;\nunsafe { b }"), [1, 3]);
    assert_eq!(lines_of("// SAFETY: outside.\nif a {\nunsafe { b }\n}"), [1, 3]);
    assert_eq!(lines_of("unsafe { b } // SAFETY: behind.\n"), [1, 1]);
    assert_eq!(lines_of("// SAFETY: a type ends no statement.\nlet a: [u64; 2] = unsafe { b };"), [0; 0]);
}

#[test]
fn a_contract_justifies_declarations_only_and_an_empty_reason_nothing() {
    assert_eq!(lines_of("/// # Safety\n/// Ours.\nunsafe impl Send for A {}"), [3]);
    assert_eq!(lines_of("// SAFETY:\nunsafe { b }"), [2]);
    assert_eq!(lines_of("// SAFETY: one.\n// SAFETY: two.\nunsafe { b }"), [1]);
}
