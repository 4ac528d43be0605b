//! Man pages: one for the program and one for each command, from the definition of the arguments.

use std::fs;

use super::mounted::regfs;

#[test]
fn every_word_has_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let written = regfs().arg("man").arg(directory.path()).status().unwrap();
    assert!(written.success());
    let help = regfs().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let words = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let words = words.take_while(|line| !line.is_empty());
    let mut pages = 0;
    for word in words.filter_map(|line| line.split_whitespace().next()) {
        if word == "help" {
            continue;
        }
        let page = directory.path().join(format!("regfs-{word}.1"));
        let text = fs::read_to_string(&page).unwrap_or_default();
        assert!(text.contains(".SH SYNOPSIS"), "{}", page.display());
        pages += 1;
    }
    assert!(pages >= 12, "{pages} pages");
    let page = fs::read_to_string(directory.path().join("regfs.1")).unwrap();
    assert!(page.contains("Exit codes"), "{page}");
}
