//! ls, du, history and stats: correct, and the same whether the store is mounted or not.

use serde_json::Value;

use super::plain::{SMALL, Shape};
use super::site::{Site, json, regfs};

fn ask(site: &Site, words: &[&str]) -> Value {
    let mut command = regfs();
    command.arg(words[0]).arg("--json").arg(site.store());
    json(&command.args(&words[1..]).output().unwrap())
}

fn text(site: &Site, words: &[&str]) -> (bool, String) {
    let mut command = regfs();
    command.arg(words[0]).arg(site.store());
    let output = command.args(&words[1..]).output().unwrap();
    let out = if output.status.success() {
        output.stdout
    } else {
        output.stderr
    };
    (output.status.success(), String::from_utf8(out).unwrap())
}

/// Two repositories that share layers, and one whose are its own.
const SHAPE: Shape = Shape {
    repositories: 3,
    tags: 2,
    layers: 2,
    pool: 70,
    layer_bytes: 20_000,
};

#[test]
fn bytes_are_told_by_who_holds_them() {
    let site = Site::with(&SHAPE);
    site.import(&[]);
    let sizes = ask(&site, &["du"]);
    let rows = sizes["repositories"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        // Four layers and two manifests of its own; the configuration is shared by all.
        let (logical, unique) = (
            row["logical"].as_u64().unwrap(),
            row["unique"].as_u64().unwrap(),
        );
        assert!(
            logical > unique && unique > 80_000 && unique < 83_000,
            "{row}"
        );
        assert_eq!(row["shared"].as_u64().unwrap(), logical - unique);
        assert_eq!(
            (&row["tags"], &row["revisions"], &row["layers"]),
            (&2.into(), &2.into(), &5.into())
        );
    }
    let one = ask(&site, &["du", "library/app0"]);
    assert_eq!(
        one["repositories"][0],
        rows.iter()
            .find(|row| row["repository"] == "library/app0")
            .unwrap()
            .clone()
    );
}

/// Listings, sizes and totals are the same of a mounted store and of one that is not.
#[test]
fn the_same_is_told_of_a_store_mounted_or_not() {
    let mut site = Site::with(&SMALL);
    site.import(&[]);
    let words: [&[&str]; 7] = [
        &["ls"],
        &["ls", "library/app0"],
        &["ls", "library/app0:v1"],
        &["du"],
        &["history", "library/app0:v1"],
        &["stats"],
        &["undelete"],
    ];
    // Only a mount has lines about requests.
    let of_store = |(mut value, (good, text)): (Value, (bool, String))| {
        let mount = value
            .as_object_mut()
            .and_then(|value| value.remove("mount"));
        let lines = text.lines().filter(|line| !line.starts_with("requests"));
        let lines = lines.filter(|line| !line.starts_with("blobs and uploads are"));
        let text: Vec<_> = lines.collect();
        ((value, (good, text.join("\n"))), mount)
    };
    let all = |site: &Site| -> Vec<(Value, (bool, String))> {
        let of = |words: &&[&str]| of_store((ask(site, words), text(site, words))).0;
        words.iter().map(of).collect()
    };
    let unmounted = all(&site);
    let top = site.mount();
    assert!(unmounted == all(&site));
    let of_mount = regfs()
        .args(["stats", "--json"])
        .arg(&top)
        .output()
        .unwrap();
    let ((of_mount, _), mount) = of_store((json(&of_mount), (true, String::new())));
    assert_eq!(of_mount, unmounted[5].0);
    let mount = mount.unwrap();
    assert!(
        mount["served"][0]
            .as_str()
            .unwrap()
            .starts_with("requests come by")
    );
    assert!(
        mount["requests"]
            .as_object()
            .unwrap()
            .values()
            .all(Value::is_u64)
    );
    assert_eq!(unmounted[5].0["tags"], 30);
    assert!(
        unmounted[1].1.1.lines().count() == 5,
        "{}",
        unmounted[1].1.1
    );
    let image = &unmounted[2].0;
    assert_eq!(image["kind"], "OCI image manifest", "{image}");
    assert_eq!(image["references"].as_array().unwrap().len(), 4);
}

#[test]
fn what_a_tag_was_at_is_told_the_newest_first() {
    let mut site = Site::with(&SMALL);
    site.import(&[]);
    let top = site.mount();
    let tags = top.join("docker/registry/v2/repositories/library/app0/_manifests/tags");
    let read = |tag: &str| std::fs::read_to_string(tags.join(tag).join("current/link")).unwrap();
    let (old, new) = (read("v0"), read("v1"));
    // As a registry writes: the index entry, then the link.
    let entry = tags.join("v0/index/sha256").join(&new[7..]);
    std::fs::create_dir_all(&entry).unwrap();
    std::fs::write(entry.join("link"), &new).unwrap();
    std::fs::write(tags.join("v0/current/link"), &new).unwrap();
    let told = ask(&site, &["history", "library/app0:v0"]);
    let history = told["history"].as_array().unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(
        (&history[0]["digest"], &history[0]["current"]),
        (&new.into(), &true.into())
    );
    assert_eq!(
        (&history[1]["digest"], &history[1]["current"]),
        (&old.into(), &false.into())
    );
    assert_eq!(history[1]["held"], true);
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    let site = Site::with(&SMALL);
    site.import(&[]);
    for words in [
        &["ls", "no/such"][..],
        &["ls", "library/app0:no"],
        &["du", "no/such"],
        &["history", "library/app0:no"],
    ] {
        let (good, text) = text(&site, words);
        assert!(!good && text.contains("the store has no"), "{text}");
    }
    let (good, text) = text(&site, &["history", "library/app0"]);
    assert!(!good && text.contains("expected REPOSITORY:TAG"), "{text}");
}
