//! Admission on a mount: policies, audit, schema 1, reasons, attributes, `regfs check`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::drops::manifest;
use super::mounted::{Mounted, attribute, hex, regfs, tree};
use super::table::{STOCK, bytes, filled, table};

const OLD: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// Copies a document with cp; what cp printed if it failed.
fn cp(document: &[u8], to: &Path) -> Result<(), String> {
    let work = tempfile::tempdir().unwrap();
    let from = work.path().join("m.json");
    fs::write(&from, document).unwrap();
    let output = Command::new("cp").arg(&from).arg(to).output().unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn mounted(options: &str) -> Mounted {
    let mounted = Mounted::with(&["-o", options]);
    mounted.stock();
    mounted
}

fn own(mounted: &Mounted, file: &str) -> String {
    fs::read_to_string(mounted.top().join(".regfs").join(file)).unwrap()
}

/// A signed schema 1 manifest is stored as its payload with its signatures, and `user.regfs.signed`
/// gives the signed document back.
#[test]
fn signed_schema_1_is_stored_as_its_payload_with_its_signatures() {
    let mounted = mounted("schema1=accept");
    // Three of them sign the same payload, so their signatures accumulate.
    for (name, count) in [("es256", 1), ("two", 3), ("compact256", 1), ("rs256", 4)] {
        let document = bytes(&format!("schema1/{name}.json"));
        let tag = mounted.repository(&format!("_manifests/tags/{name}"));
        cp(&document, &tag).unwrap();
        let link = fs::read_to_string(tag.join("current/link")).unwrap();
        let revision =
            mounted.repository(&format!("_manifests/revisions/{}", link.replace(':', "/")));
        let payload =
            fs::read(mounted.v2(&format!("blobs/sha256/{}/{}/data", &link[7..9], &link[7..])));
        let payload = payload.unwrap();
        assert!(
            document.starts_with(&payload[..payload.len() - 3]),
            "{name}"
        );
        let kept = fs::read_dir(revision.join("signatures/sha256")).unwrap();
        assert_eq!(kept.count(), count, "{name}");
        assert_eq!(attribute(&tag, "user.regfs.media_type").unwrap(), OLD);
        // Reassembled, it is a signed manifest with the same payload.
        let signed = attribute(&revision, "user.regfs.signed").unwrap();
        cp(
            signed.as_bytes(),
            &mounted.repository("_manifests/tags/again"),
        )
        .unwrap();
        let again = mounted.repository("_manifests/tags/again/current/link");
        assert_eq!(fs::read_to_string(again).unwrap(), link);
        let once = tree(&revision);
        cp(&document, &tag.join("again.json")).unwrap();
        assert_eq!(tree(&revision), once, "{name} again");
    }
    let damaged = String::from_utf8(bytes("schema1/es256.json")).unwrap();
    let damaged = damaged.replace("\"old\"", "\"new\"");
    let to = mounted.repository("_manifests/tags/damaged");
    assert!(
        cp(damaged.as_bytes(), &to)
            .unwrap_err()
            .contains("Invalid argument")
    );
    let reason = attribute(&mounted.repository("_manifests"), "user.regfs.error").unwrap();
    assert!(reason.contains("bad-signature: /signatures/0"), "{reason}");
    fs::remove_dir_all(mounted.v2("repositories/team")).unwrap();
    assert!(!mounted.v2("repositories/team").exists());
}

/// A schema 1 manifest is refused, except with `-o schema1=accept`.
#[test]
fn schema_1_follows_its_table_where_it_is_accepted_and_is_refused_elsewhere() {
    let (accepting, refusing) = (mounted("schema1=accept"), mounted("ro,rw"));
    for (number, row) in table("schema1.txt").iter().enumerate() {
        let path = format!("_manifests/tags/t{number}");
        let copied = cp(row[2].as_bytes(), &accepting.repository(&path));
        assert_eq!(
            copied.is_ok(),
            row[0] == "admitted",
            "{}: {copied:?}",
            row[2]
        );
        if copied.is_err() {
            let reason =
                attribute(&accepting.repository("_manifests"), "user.regfs.error").unwrap();
            assert!(
                reason.contains(&row[0]) && reason.contains(&row[1]),
                "{reason}"
            );
        }
        let copied = cp(row[2].as_bytes(), &refusing.repository(&path));
        assert!(copied.unwrap_err().contains("Invalid argument"));
    }
    assert!(own(&refusing, "rejected").contains("-o schema1=accept"));
}

#[test]
fn trees_that_hold_schema_1_are_copied_in_and_read_whatever_the_policy() {
    let (from, to) = (mounted("schema1=accept"), mounted("schema1=refuse"));
    let document = bytes("schema1/es256.json");
    cp(&document, &from.repository("_manifests/tags/old")).unwrap();
    // As a registry of that time wrote: blobs first, then links.
    for part in ["blobs", "repositories"] {
        let script = format!(
            "cp -r {}/. {}/",
            from.v2(part).display(),
            to.v2(part).display()
        );
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let relative = |mounted: &Mounted| -> Vec<(String, Vec<u8>)> {
        let top = mounted.v2("").display().to_string();
        let rows = tree(&mounted.v2(""));
        rows.into_iter()
            .map(|(path, content)| (path.replace(&top, ""), content))
            .collect()
    };
    assert_eq!(relative(&to), relative(&from));
    let tag = to.repository("_manifests/tags/old");
    let layer = format!("layer sha256:{}", hex(b"layer"));
    assert_eq!(
        attribute(&tag, "user.regfs.references").unwrap(),
        format!("{layer}, {layer}")
    );
    assert!(
        own(&to, "rejected").contains("schema1-refused"),
        "the audit saw it"
    );
}

/// With `-o references=skip` a manifest is admitted even if the repository does not have what it
/// names.
#[test]
fn references_may_be_left_unchecked() {
    let mounted = mounted("references=skip");
    for (number, row) in table("missing.txt").iter().enumerate() {
        let tag = mounted.repository(&format!("_manifests/tags/m{number}"));
        cp(row[2].as_bytes(), &tag).unwrap();
    }
    for row in table("real.txt") {
        let document = bytes(&format!("real/{}", row[0]));
        let tag = mounted.repository("_manifests/tags/real");
        cp(
            &document,
            &if tag.is_dir() {
                tag.join("m")
            } else {
                tag.clone()
            },
        )
        .unwrap();
        assert_eq!(attribute(&tag, "user.regfs.media_type").unwrap(), row[1]);
        let named = attribute(&tag, "user.regfs.references").unwrap_or_default();
        assert_eq!(
            named.split(", ").filter(|one| !one.is_empty()).count(),
            row[2].split_whitespace().count()
        );
    }
    assert_eq!(own(&mounted, "rejected"), "");
}

/// With `-o max_manifest_size=BYTES` a larger manifest is refused with `EFBIG`.
#[test]
fn a_manifest_may_be_limited_in_size() {
    let mounted = mounted("max_manifest_size=1K");
    cp(
        manifest("small").as_bytes(),
        &mounted.repository("_manifests/tags/v1"),
    )
    .unwrap();
    let large = manifest(&"x".repeat(1024));
    let refused = cp(large.as_bytes(), &mounted.repository("_manifests/tags/v2"));
    assert!(refused.unwrap_err().contains("File too large"));
}

/// The empty configuration `{}` that artifacts share needs no copy.
#[test]
fn an_artifact_needs_no_file_for_the_empty_configuration() {
    let mounted = Mounted::new();
    fs::create_dir_all(mounted.repository("_manifests/tags")).unwrap();
    fs::create_dir_all(mounted.repository("_layers")).unwrap();
    fs::write(mounted.repository("_layers/file"), "layer").unwrap();
    let artifact = filled(
        r#"{"schemaVersion":2,"mediaType":"@M","artifactType":"application/vnd.example","config":{"mediaType":"@E","digest":"@c","size":2},"layers":[@L]}"#,
    );
    cp(
        artifact.as_bytes(),
        &mounted.repository("_manifests/tags/v1"),
    )
    .unwrap();
    let empty = hex(b"{}");
    let link = mounted.repository(&format!("_layers/sha256/{empty}/link"));
    assert_eq!(fs::read_to_string(link).unwrap(), format!("sha256:{empty}"));
    let blob = mounted.v2(&format!("blobs/sha256/44/{empty}/data"));
    assert_eq!(fs::read_to_string(blob).unwrap(), "{}");
}

/// Writes a manifest as registries below 3.1 do, or as later ones: the blob, then its link.
fn push(mounted: &Mounted, document: &str, renaming: bool) -> std::io::Result<()> {
    let write = |directory: &Path, name: &str, content: &str| -> std::io::Result<()> {
        fs::create_dir_all(directory)?;
        let target = directory.join(name);
        let temporary = directory.join(format!("{name}.01890a5d-ac96-774b-bcce-b302099a8057.tmp"));
        let path = if renaming { &temporary } else { &target };
        let file = fs::File::create(path)?;
        std::io::Write::write_all(&mut &file, content.as_bytes())?;
        file.sync_all()?;
        if renaming {
            fs::rename(&temporary, &target)?;
        }
        Ok(())
    };
    let name = hex(document.as_bytes());
    write(
        &mounted.v2(&format!("blobs/sha256/{}/{name}", &name[..2])),
        "data",
        document,
    )?;
    let revision = mounted.repository(&format!("_manifests/revisions/sha256/{name}"));
    write(&revision, "link", &format!("sha256:{name}"))
}

/// A manifest of a registry that breaks a rule is linked silently with `-o audit=off`, linked and
/// reported with `audit=warn`, and refused with `audit=enforce`.
///
/// Missing references of a registry's manifest are reported and never refused, because they may
/// come later.
#[test]
fn the_audit_tells_admits_or_refuses_what_a_registry_links() {
    let wrong = table("missing.txt")[0][2].clone();
    let right = filled(STOCK);
    for renaming in [false, true] {
        for (audit, refuses, told) in [
            ("off", false, false),
            ("warn", false, true),
            ("enforce", true, true),
        ] {
            let mounted = mounted(&format!("audit={audit}"));
            push(&mounted, &right, renaming).unwrap();
            assert_eq!(own(&mounted, "rejected"), "", "{audit}");
            let pushed = push(&mounted, &wrong, renaming);
            // A missing reference may still be pushed.
            assert!(pushed.is_ok(), "{audit}: {pushed:?}");
            let rejected = own(&mounted, "rejected");
            let error = attribute(&mounted.repository("_manifests"), "user.regfs.error");
            assert_eq!(
                rejected.contains("reference-missing: /config"),
                told,
                "{rejected}"
            );
            assert_eq!(
                error.is_ok_and(|text| text.contains("reference-missing")),
                told
            );
            assert_eq!(
                rejected.contains("admitted repositories/team/app/"),
                told,
                "{rejected}"
            );
            assert_eq!(
                own(&mounted, "status").contains("reference-missing: 1"),
                told
            );
            let broken = right.replace("\"schemaVersion\":2", "\"schemaVersion\":3");
            assert_ne!(broken, right);
            let pushed = push(&mounted, &broken, renaming);
            assert_eq!(pushed.is_err(), refuses, "{audit}: {pushed:?}");
            let name = hex(broken.as_bytes());
            let link = mounted.repository(&format!("_manifests/revisions/sha256/{name}/link"));
            assert_eq!(link.exists(), !refuses, "{audit}");
            if let Err(error) = pushed {
                assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
            }
        }
    }
}

/// A reason is kept with time, process and user, in `user.regfs.error` of `_manifests` and in
/// `.regfs/rejected`.
#[test]
fn a_refusal_says_who_where_which_rule_and_why() {
    let mounted = mounted("rw");
    let work = tempfile::tempdir().unwrap();
    let from = work.path().join("m.json");
    fs::write(&from, "{}").unwrap();
    let mut cp = Command::new("cp");
    cp.arg(&from)
        .arg(mounted.repository("_manifests/tags/v1"))
        .stderr(Stdio::null());
    let mut child = cp.spawn().unwrap();
    let pid = child.id();
    assert!(!child.wait().unwrap().success());
    let said = "refused repositories/team/app/_manifests/tags/v1: manifest refused for team/app: \
                unknown-kind: the document is of no known kind, expected a mediaType, or manifests, \
                or config and layers";
    let error = attribute(&mounted.repository("_manifests"), "user.regfs.error").unwrap();
    assert_eq!(error, said);
    let rejected = own(&mounted, "rejected");
    let (when, rest) = rejected.trim().split_once(' ').unwrap();
    assert!(when.starts_with("20") && when.ends_with('Z'), "{rejected}");
    assert_eq!(rest, format!("pid {pid} uid 0 {said}"));
}

/// A manifest that is removed from its last repository names nothing any more.
///
/// Tags, links and blobs have their facts as attributes, and none of these is listed.
#[test]
fn links_blobs_and_tags_have_their_facts_as_attributes() {
    let mounted = mounted("rw");
    let document = filled(STOCK);
    let tag = mounted.repository("_manifests/tags/v1");
    fs::write(&tag, &document).unwrap();
    fs::write(tag.join("again"), &document).unwrap();
    let name = hex(document.as_bytes());
    let about = filled(
        r#"{"schemaVersion":2,"mediaType":"@M","artifactType":"application/vnd.example","config":@C,"layers":[@L],"subject":@N}"#,
    );
    fs::write(mounted.repository("_manifests/about"), &about).unwrap();
    let (config, layer) = (hex(b"{}"), hex(b"layer"));
    let value = |path: &Path, name: &str| attribute(path, &format!("user.regfs.{name}"));
    let link = mounted.repository(&format!("_manifests/revisions/sha256/{name}/link"));
    for path in [
        &tag,
        &tag.join("current/link"),
        &link,
        &mounted.v2(&format!("blobs/sha256/{}/{name}/data", &name[..2])),
    ] {
        assert_eq!(value(path, "digest").unwrap(), format!("sha256:{name}"));
        assert_eq!(value(path, "size").unwrap(), document.len().to_string());
        assert_eq!(value(path, "kind").unwrap(), "OCI image manifest");
        assert_eq!(
            value(path, "references").unwrap(),
            format!("config sha256:{config}, layer sha256:{layer}")
        );
        assert_eq!(
            value(path, "referrers").unwrap(),
            format!("sha256:{}", hex(about.as_bytes()))
        );
        assert!(value(path, "tags").unwrap().ends_with("v1"));
        assert!(value(path, "pushed").unwrap().starts_with("20"));
        assert_eq!(value(path, "signed").unwrap_err().raw_os_error(), Some(61));
    }
    let blob = mounted.v2(&format!("blobs/sha256/{}/{layer}/data", &layer[..2]));
    assert_eq!(value(&blob, "tags").unwrap(), "team/app:v1");
    assert_eq!(value(&blob, "kind").unwrap(), "layer");
    let held = mounted.repository(&format!("_layers/sha256/{config}/link"));
    assert_eq!(value(&held, "kind").unwrap(), "config");
    assert_eq!(value(&held, "tags").unwrap(), "v1");
    // A program that gets EOPNOTSUPP (95) does not ask for that attribute of other files.
    for (name, error) in [
        ("user.other", 61),
        ("user.regfs.unknown", 61),
        ("security.selinux", 95),
        ("system.posix_acl_access", 95),
    ] {
        assert_eq!(
            attribute(&tag, name).unwrap_err().raw_os_error(),
            Some(error),
            "{name}"
        );
    }
    // None is listed, since programs that list attributes copy them; user.regfs shows all.
    let listed = Command::new("getfattr").arg("-d").arg(&tag).output();
    assert_eq!(listed.unwrap().stdout, b"");
    let listed = attribute(&tag, "user.regfs").unwrap();
    for name in [
        "digest",
        "kind",
        "media_type",
        "pushed",
        "references",
        "referrers",
        "size",
        "tags",
    ] {
        assert!(listed.contains(&format!("{name}: ")), "{listed}");
    }
    // A deleted manifest references nothing any more.
    let collected = mounted.repository(&format!(
        "_manifests/revisions/sha256/{}",
        hex(about.as_bytes())
    ));
    fs::remove_dir_all(collected).unwrap();
    assert_eq!(
        value(&link, "referrers").unwrap_err().raw_os_error(),
        Some(61)
    );
}

fn check(arguments: &[&str]) -> Output {
    regfs().arg("check").args(arguments).output().unwrap()
}

/// `regfs check` says what a drop would come to, on a mounted store or another: exit code 0 if
/// admitted, 4 if refused.
#[test]
fn check_says_what_a_drop_would_come_to_mounted_or_not() {
    let mut mounted = mounted("rw");
    let work = tempfile::tempdir().unwrap();
    let (right, wrong) = (work.path().join("right"), work.path().join("wrong"));
    fs::write(&right, filled(STOCK)).unwrap();
    fs::write(&wrong, &table("missing.txt")[0][2]).unwrap();
    let store = mounted.store().display().to_string();
    let within = ["--store", &store, "--repository", "team/app"];
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    for is_mounted in [true, false] {
        if !is_mounted {
            mounted.unmount();
        }
        let output = check(&[&[right][..], &within].concat());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && said.starts_with("admitted: OCI image manifest, 392 bytes"),
            "{said}"
        );
        let output = check(&[&[wrong][..], &within].concat());
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(
            said.starts_with("refused: reference-missing: /config"),
            "{said}"
        );
        let output = check(&[&[wrong, "--json"][..], &within].concat());
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&said["verdict"], &said["rule"], &said["pointer"]),
            (
                &"refused".into(),
                &"reference-missing".into(),
                &"/config".into()
            )
        );
        let elsewhere = ["--store", &store, "--repository", "team/nowhere"];
        let output = check(&[&[right][..], &elsewhere].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("no repository team/nowhere"));
    }
    // Without a store, by the rules alone.
    assert!(check(&[wrong]).status.success());
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/schema1/es256.json");
    let old = old.to_str().unwrap();
    assert_eq!(check(&[old]).status.code(), Some(4));
    assert!(check(&[old, "-o", "schema1=accept"]).status.success());
    assert_eq!(check(&[right, "--store", &store]).status.code(), Some(2));
    assert_eq!(check(&["/nowhere"]).status.code(), Some(1));
    let nowhere = work.path().join("nostore");
    let output = check(&[
        right,
        "--store",
        nowhere.to_str().unwrap(),
        "--repository",
        "a",
    ]);
    assert!(!output.status.success() && !nowhere.exists());
}
