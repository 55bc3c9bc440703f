//! The configuration of `pogu serve` from any text: it means something or is refused in one sentence, and what it means is
//! printed as a text that means the same.

use pogu_cli::configuration::Configuration;

/// Checks a text. `planted`: a printed configuration loses its heartbeats, which must be noticed.
pub fn check(bytes: &[u8], planted: bool) {
    // A file that is no UTF-8 is refused before it is looked at.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let configuration = match Configuration::parse("server.toml", text) {
        Ok(configuration) => configuration,
        Err(failure) => return check_refusal(&failure.to_string(), text),
    };
    let mut printed = configuration.to_string();
    if planted {
        printed = printed.lines().filter(|line| !line.starts_with("heartbeat = {")).collect::<Vec<_>>().join("\n");
    }
    let again = Configuration::parse("printed.toml", &printed).unwrap_or_else(|failure| panic!("{failure}\n{printed}"));
    assert_eq!(again.to_string(), configuration.to_string());
    assert_eq!(again.log, configuration.log);
    assert_eq!(format!("{:?}", again.serve.services), format!("{:?}", configuration.serve.services));
}

/// One sentence that names a line of the file.
fn check_refusal(sentence: &str, text: &str) {
    let (line, what) = sentence.strip_prefix("server.toml:").and_then(|rest| rest.split_once(": ")).expect(sentence);
    let line: usize = line.parse().expect(sentence);
    assert!((1..=1 + text.matches('\n').count()).contains(&line), "{sentence}");
    assert!(!what.is_empty() && !sentence.chars().any(char::is_control), "{sentence:?}");
}
