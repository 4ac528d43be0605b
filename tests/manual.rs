//! The manual against the program and its tests: each rule of the semantics is proved by a test,
//! and every command, option, errno, finding and table is named.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the sources must fail"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::program::regfs;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The text of every Rust file below a directory.
fn sources(directory: &str) -> Vec<String> {
    fn visit(directory: &Path, into: &mut Vec<PathBuf>) {
        for row in fs::read_dir(directory).unwrap() {
            let path = row.unwrap().path();
            if path.is_dir() {
                visit(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    visit(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(directory),
        &mut paths,
    );
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
    texts.collect()
}

/// A text with single spaces between its words.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The list items of a page.
fn items(page: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut within = false;
    for line in page.lines() {
        if let Some(first) = line.strip_prefix("- ") {
            items.push(first.to_owned());
            within = true;
        } else if let (true, Some(more)) = (within, line.strip_prefix("  ")) {
            let item = items.last_mut().unwrap();
            item.push(' ');
            item.push_str(more);
        } else {
            within = false;
        }
    }
    items.iter().map(|item| joined(item)).collect()
}

/// The doc comments of the tests in a source file.
fn test_docs(source: &str) -> Vec<String> {
    let (mut docs, mut doc, mut is_test) = (Vec::new(), String::new(), false);
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text);
            doc.push(' ');
        } else if line.starts_with("#[") {
            is_test |= line == "#[test]";
        } else {
            if is_test && line.starts_with("fn ") {
                docs.push(joined(&doc));
            }
            doc.clear();
            is_test = false;
        }
    }
    docs
}

/// What stands between `start` and `end` wherever both do, as far as `is_name` admits it.
fn between(text: &str, start: &str, end: char, is_name: fn(char) -> bool) -> BTreeSet<String> {
    let parts = text.split(start).skip(1);
    let names = parts.filter_map(|part| part.split_once(end).map(|(name, _)| name));
    let names = names.filter(|name| !name.is_empty() && name.chars().all(is_name));
    names.map(str::to_owned).collect()
}

fn must_name<'a>(page: &str, names: impl IntoIterator<Item = &'a str>) {
    let text = read(&format!("src/manual/{page}.md"));
    let missing: Vec<&str> = names
        .into_iter()
        .filter(|name| !text.contains(name))
        .collect();
    assert!(missing.is_empty(), "{page}.md does not name {missing:?}");
}

fn help(words: &[&str]) -> String {
    let output = regfs().args(words).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The names in the list of commands that the program prints.
fn commands() -> Vec<String> {
    let help = help(&[]);
    let list = help.split("Commands:").nth(1).unwrap();
    let list = list.split("\n\n").next().unwrap();
    let names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let names = names.filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn each_rule_of_the_semantics_stands_in_the_doc_comment_of_a_test() {
    let suites = ["adoption", "distribution", "mount", "registry"];
    let sources = suites
        .map(|suite| sources(&format!("tests/{suite}")))
        .concat();
    let docs: Vec<String> = sources
        .iter()
        .flat_map(|source| test_docs(source))
        .collect();
    let rules = items(&read("src/manual/semantics.md"));
    assert!(rules.len() >= 50, "{} rules", rules.len());
    let unproved: Vec<&String> = rules
        .iter()
        .filter(|rule| !docs.iter().any(|doc| doc.contains(rule.as_str())))
        .collect();
    assert!(
        unproved.is_empty(),
        "in no test's doc comment: {unproved:#?}"
    );
}

#[test]
fn every_errno_that_a_caller_can_get_is_named() {
    let name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    let mut names = BTreeSet::new();
    for source in sources("src/fuse") {
        // Tests come last in a file.
        let code = source.split("#[cfg(test)]").next().unwrap();
        for part in code.split("Errno::").skip(1) {
            let text: String = part.chars().take_while(|c| name(*c)).collect();
            if text.starts_with('E') {
                names.insert(format!("`{text}`"));
            }
        }
    }
    assert!(names.len() > 20, "{names:?}");
    must_name("semantics", names.iter().map(String::as_str));
}

#[test]
fn every_command_and_each_of_its_options_is_named() {
    let commands = commands();
    assert!(commands.len() > 10, "{commands:?}");
    let mut names = BTreeSet::new();
    for command in &commands {
        names.insert(format!("`regfs {command}"));
        let help = help(&[command]);
        let options = help.split("Options:").nth(1).unwrap();
        let lines = options.lines().map(str::trim);
        let words = lines
            .filter(|line| line.starts_with('-'))
            .flat_map(str::split_whitespace);
        let words = words.filter(|word| word.starts_with("--") && *word != "--help");
        names.extend(words.map(str::to_owned));
    }
    must_name("operations", names.iter().map(String::as_str));
}

#[test]
fn every_mount_option_and_each_of_its_values_is_named() {
    // What is unknown is refused with what is known.
    let output = regfs()
        .args(["mount", "store", "mountpoint", "-o", "unknown"])
        .output()
        .unwrap();
    let refusal = String::from_utf8(output.stderr).unwrap();
    let (_, known) = refusal.trim().split_once("known are ").unwrap();
    let mut options: BTreeSet<&str> = known.split(", ").collect();
    assert!(options.len() > 30, "{options:?}");
    // And what the help names.
    let help = help(&["mount"]);
    let words = help.split(|c: char| c.is_whitespace() || "`,()".contains(c));
    options.extend(words.filter(|word| word.contains('=')));
    let page = read("src/manual/operations.md");
    for option in options {
        let (name, values) = option.split_once('=').unwrap_or((option, ""));
        let row = |row: &&str| {
            let cell = row.split('|').nth(1).unwrap_or_default();
            let equals = if option.contains('=') { "=" } else { "`" };
            cell.contains(&format!("`{name}{equals}"))
        };
        let rows: Vec<&str> = page.lines().filter(row).collect();
        assert!(!rows.is_empty(), "operations.md has no row for {option}");
        let is_word = |value: &&str| value.chars().all(|c| c.is_ascii_lowercase());
        for value in values.split('|').filter(is_word) {
            assert!(rows.iter().any(|row| row.contains(value)), "{option}");
        }
    }
}

#[test]
fn every_exit_code_is_named() {
    let help = help(&[]);
    let (_, list) = help.split_once("Exit codes:").unwrap();
    let codes = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let codes: Vec<String> = codes.map(|code| format!("| {code} |")).collect();
    assert!(codes.len() > 5, "{codes:?}");
    must_name("operations", codes.iter().map(String::as_str));
}

#[test]
fn every_finding_of_fsck_and_of_an_import_is_named() {
    let mut names = BTreeSet::new();
    for source in sources("src") {
        let lines = source.lines().map(str::trim);
        for line in lines.filter(|line| line.starts_with("Self::")) {
            let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            names.extend(between(line, "=> \"", '"', is_name));
        }
    }
    // What an import did about a finding is no finding.
    let done = ["set-aside", "passed-over"];
    names.retain(|name| name.contains('-') && !done.contains(&name.as_str()));
    assert!(names.len() > 40, "{names:?}");
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    must_name("operations", names.iter().map(String::as_str));
}

#[test]
fn every_table_of_the_index_is_named() {
    let mut names = BTreeSet::new();
    for source in sources("src/index") {
        let code = source.split("#[cfg(test)]").next().unwrap();
        let tables = between(code, "table(b'", '\'', |c| c.is_ascii_alphabetic());
        names.extend(tables.iter().map(|letter| format!("| `{letter}` |")));
    }
    assert!(names.len() > 20, "{names:?}");
    must_name("formats", names.iter().map(String::as_str));
}

#[test]
fn the_pages_name_no_file_that_is_not_there() {
    for page in ["semantics", "operations", "formats", "design"] {
        let text = read(&format!("src/manual/{page}.md"));
        for path in between(&text, "`", '`', |c| {
            c.is_ascii_alphanumeric() || "/._-".contains(c)
        }) {
            let of_ours = ["src/", "tests/", "scripts/", ".github/", ".cargo/"];
            if of_ours.iter().any(|top| path.starts_with(top)) {
                let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
                assert!(there.exists(), "{page}.md names {path}");
            }
        }
    }
}
