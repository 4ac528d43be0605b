//! The script: every kind of request that a registry serves, with all responses recorded.

use std::path::PathBuf;

use super::http::{self, Answer};
use super::image::{self, DOCKER, INDEX, MANIFEST, digest};
use super::normal;
use super::registry::{Registry, Setup, Version};
use super::root::{Root, wait};

/// What a registry answered, and what its tree then was, phase by phase.
pub(crate) type Transcript = Vec<(String, Vec<String>)>;

/// A walk under way.
pub(crate) struct Walk<'a> {
    pub(crate) root: &'a Root,
    version: Version,
    registry: Registry,
    answers: Vec<String>,
    pub(crate) transcript: Transcript,
    ports: Vec<u16>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(version: Version, root: &'a Root) -> Self {
        let registry = Registry::start(version, &root.path(), &Setup::default());
        let ports = vec![registry.port];
        let (answers, transcript) = (Vec::new(), Vec::new());
        Self {
            root,
            version,
            registry,
            answers,
            transcript,
            ports,
        }
    }

    fn path(&self) -> PathBuf {
        self.root.path()
    }

    fn restart(&mut self, setup: &Setup) {
        let (version, path) = (self.version, self.path());
        self.registry.stop();
        self.registry = Registry::start(version, &path, setup);
        self.ports.push(self.registry.port);
    }

    /// Sends a request and keeps what came back.
    fn say(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = http::request(self.registry.port, method, path, headers, body)
            .unwrap_or_else(|| panic!("no answer to {method} {path}"));
        let text = normal::answer(&answer, &self.path(), &self.ports);
        let asked = normal::text(
            &format!("{method} {path} {headers:?}"),
            &self.path(),
            &self.ports,
        );
        self.answers.push(format!("{asked}\n{text}\n"));
        answer
    }

    fn get(&mut self, path: &str) -> Answer {
        self.say("GET", path, &[], b"")
    }

    /// Closes a phase: its answers, and the tree as it is now.
    fn phase(&mut self, name: &str) {
        self.transcript.push((
            format!("answers: {name}"),
            std::mem::take(&mut self.answers),
        ));
        let tree = normal::tree(&self.path());
        self.transcript
            .push((format!("tree: {name}"), tree.into_iter().collect()));
    }

    /// The path and query of an upload's next request.
    fn location(answer: &Answer) -> String {
        let location = answer.header("Location").expect("a location");
        let path = location
            .split_once("/v2/")
            .map_or(location, |(_, path)| path);
        format!("/v2/{path}")
    }

    fn start_upload(&mut self, repository: &str) -> String {
        let answer = self.say(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            &[],
            b"",
        );
        Self::location(&answer)
    }

    fn finish_upload(&mut self, location: &str, digest: &str, body: &[u8]) -> Answer {
        let joint = if location.contains('?') { '&' } else { '?' };
        let path = format!("{location}{joint}digest={digest}");
        self.say(
            "PUT",
            &path,
            &[("Content-Type", "application/octet-stream")],
            body,
        )
    }

    fn push_blob(&mut self, repository: &str, bytes: &[u8]) {
        let location = self.start_upload(repository);
        assert_eq!(
            self.finish_upload(&location, &digest(bytes), bytes).status,
            201
        );
    }

    fn patch(&mut self, location: &str, from: usize, bytes: &[u8]) -> String {
        let range = format!("{from}-{}", from + bytes.len() - 1);
        let headers = [
            ("Content-Type", "application/octet-stream"),
            ("Content-Range", &*range),
        ];
        Self::location(&self.say("PATCH", location, &headers, bytes))
    }

    fn put_manifest(&mut self, repository: &str, reference: &str, kind: &str, bytes: &[u8]) -> u16 {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.say("PUT", &path, &[("Content-Type", kind)], bytes)
            .status
    }

    fn get_manifest(&mut self, repository: &str, reference: &str) {
        let accept = format!("{MANIFEST}, {INDEX}, {DOCKER}");
        for method in ["GET", "HEAD"] {
            let path = format!("/v2/{repository}/manifests/{reference}");
            self.say(method, &path, &[("Accept", &accept)], b"");
        }
    }

    /// Uploads in every way.
    pub(crate) fn uploads(&mut self) {
        let repository = "team/app";
        self.get("/v2/");
        self.get("/v2/_catalog");
        self.get("/v2/team/app/tags/list");
        let one = image::layer(1, 100_000);
        self.push_blob(repository, &one);
        // Again, now that the bytes exist.
        self.push_blob(repository, &one);
        let two = image::layer(2, 300_001);
        let mut location = self.start_upload(repository);
        for (at, chunk) in two.chunks(70_000).enumerate() {
            location = self.patch(&location, at * 70_000, chunk);
            self.get(&location.clone());
        }
        assert_eq!(
            self.finish_upload(&location, &digest(&two), b"").status,
            201
        );
        self.phase("monolithic and chunked uploads");
        let three = image::layer(3, 200_000);
        let location = self.start_upload(repository);
        let location = self.patch(&location, 0, &three[..90_000]);
        self.restart(&Setup::default());
        self.phase("an upload half-way over a restart");
        self.get(&location);
        let location = self.patch(&location, 90_000, &three[90_000..]);
        assert_eq!(
            self.finish_upload(&location, &digest(&three), b"").status,
            201
        );
        let location = self.start_upload(repository);
        let location = self.patch(&location, 0, b"never to be finished");
        self.say("DELETE", &location, &[], b"");
        self.get(&location);
        let location = self.start_upload(repository);
        assert_eq!(
            self.finish_upload(&location, &digest(b"other"), b"bytes")
                .status,
            400
        );
        let location = self.start_upload(repository);
        self.finish_upload(&location, "sha256:abc", b"bytes");
        let location = self.start_upload(repository);
        self.finish_upload(&location, &digest(b""), b"");
        let sha512 = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
        let location = self.start_upload(repository);
        self.finish_upload(&location, sha512, b"");
        self.phase("uploads resumed, cancelled, refused, and by sha512");
    }

    /// Blobs read and mounted.
    pub(crate) fn blobs(&mut self) {
        let one = digest(&image::layer(1, 100_000));
        let path = format!("/v2/team/app/blobs/{one}");
        self.get(&path);
        self.say("HEAD", &path, &[], b"");
        for range in [
            "bytes=0-9",
            "bytes=99990-",
            "bytes=-5",
            "bytes=200000-",
            "bytes=5-1",
        ] {
            self.say("GET", &path, &[("Range", range)], b"");
        }
        self.get(&format!("/v2/team/app/blobs/{}", digest(b"unknown")));
        self.get("/v2/team/app/blobs/sha256:short");
        self.get(&format!("/v2/other/blobs/{one}"));
        let mount = format!("/v2/other/copy/blobs/uploads/?mount={one}&from=team/app");
        assert_eq!(self.say("POST", &mount, &[], b"").status, 201);
        let unknown = digest(b"unknown");
        let mount = format!("/v2/other/copy/blobs/uploads/?mount={unknown}&from=team/app");
        let location = Self::location(&self.say("POST", &mount, &[], b""));
        self.say("DELETE", &location, &[], b"");
        self.get(&format!("/v2/other/copy/blobs/{one}"));
        for name in [
            "Upper/case",
            "UPPER",
            "a//b",
            "_x",
            "a/_layers",
            "host.com/x",
        ] {
            self.say("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"");
        }
        self.phase("blobs read, ranged, mounted");
    }

    /// Manifests by tag and digest, good and bad.
    pub(crate) fn manifests(&mut self) {
        let repository = "team/app";
        let config = br#"{"architecture":"amd64","os":"linux"}"#;
        self.push_blob(repository, config);
        let (one, two) = (image::layer(1, 100_000), image::layer(2, 300_001));
        let first = image::manifest(MANIFEST, config, &[&one]);
        let second = image::manifest(MANIFEST, config, &[&one, &two]);
        let docker = image::manifest(DOCKER, config, &[&two]);
        for (tag, kind, bytes) in [
            ("v1", MANIFEST, &first),
            ("v2", MANIFEST, &second),
            ("docker", DOCKER, &docker),
        ] {
            assert_eq!(self.put_manifest(repository, tag, kind, bytes), 201);
            self.get_manifest(repository, tag);
            self.get_manifest(repository, &digest(bytes));
        }
        // The same again; another manifest under an existing tag; by digest only.
        assert_eq!(self.put_manifest(repository, "v1", MANIFEST, &first), 201);
        assert_eq!(
            self.put_manifest(repository, "latest", MANIFEST, &first),
            201
        );
        assert_eq!(
            self.put_manifest(repository, "latest", MANIFEST, &second),
            201
        );
        assert_eq!(
            self.put_manifest(repository, &digest(&first), MANIFEST, &first),
            201
        );
        let index = image::index(&[&first, &second]);
        assert_eq!(self.put_manifest(repository, "multi", INDEX, &index), 201);
        self.get_manifest(repository, "multi");
        self.phase("manifests and an index");
        let stray = image::manifest(MANIFEST, config, &[b"not uploaded"]);
        self.put_manifest(repository, "bad", MANIFEST, &stray);
        self.put_manifest(repository, "bad", MANIFEST, b"{}");
        self.put_manifest(repository, "bad", MANIFEST, b"nonsense");
        self.put_manifest(repository, "bad", "text/plain", &first);
        self.put_manifest(repository, &digest(b"other"), MANIFEST, &first);
        self.put_manifest(repository, "bad", INDEX, &image::index(&[&stray]));
        self.put_manifest(repository, ".bad", MANIFEST, &first);
        self.get_manifest(repository, "unknown");
        self.get_manifest(repository, &digest(b"unknown"));
        self.get_manifest("nobody/home", "v1");
        self.phase("manifests refused");
    }

    /// Listings, whole and in pages.
    pub(crate) fn listings(&mut self) {
        for name in ["a/b", "a/b/c", "z", "other/copy"] {
            self.push_blob(name, b"{}");
            let manifest = image::manifest(MANIFEST, b"{}", &[]);
            assert_eq!(self.put_manifest(name, "only", MANIFEST, &manifest), 201);
        }
        for query in [
            "",
            "?n=2",
            "?n=2&last=a/b",
            "?n=100",
            "?last=other/copy",
            "?n=0",
            "?n=x",
        ] {
            self.get(&format!("/v2/_catalog{query}"));
        }
        for query in [
            "",
            "?n=2",
            "?n=2&last=latest",
            "?last=multi",
            "?n=0",
            "?last=zzz",
        ] {
            // Up to 2.8 tags come in readdir order, which is arbitrary on a plain disk.
            let answer = self.get(&format!("/v2/team/app/tags/list{query}"));
            if self.version == Version::V2_8 {
                let mut tags: Vec<&str> = std::str::from_utf8(&answer.body)
                    .unwrap()
                    .split('"')
                    .collect();
                tags.sort_unstable();
                *self.answers.last_mut().unwrap() = format!("{} {tags:?}", answer.status);
            }
        }
        self.get("/v2/a/tags/list");
        let health = http::request(self.registry.debug, "GET", "/debug/health", &[], b"").unwrap();
        self.answers.push(format!(
            "{} {}",
            health.status,
            String::from_utf8_lossy(&health.body)
        ));
        self.phase("catalog and tags");
    }

    /// A registry that may not write.
    pub(crate) fn read_only(&mut self) {
        self.restart(&Setup {
            read_only: true,
            ..Setup::default()
        });
        self.say("POST", "/v2/team/app/blobs/uploads/", &[], b"");
        self.put_manifest("team/app", "new", MANIFEST, b"{}");
        self.say(
            "DELETE",
            &format!("/v2/team/app/manifests/{}", digest(b"x")),
            &[],
            b"",
        );
        self.get_manifest("team/app", "v1");
        self.phase("read-only");
        self.restart(&Setup::default());
    }

    /// A second registry that caches the first.
    pub(crate) fn pull_through(&mut self, cache: &Root) {
        let setup = Setup {
            proxy: Some(self.registry.port),
            ..Setup::default()
        };
        let registry = Registry::start(self.version, &cache.path(), &setup);
        let config = br#"{"architecture":"amd64","os":"linux"}"#;
        let layer = image::layer(1, 100_000);
        let manifest = image::manifest(MANIFEST, config, &[&layer]);
        let ports = [registry.port, self.registry.port];
        let paths = [
            ("/v2/team/app/manifests/v1".to_owned(), 200),
            (format!("/v2/team/app/manifests/{}", digest(&manifest)), 200),
            (format!("/v2/team/app/blobs/{}", digest(&layer)), 200),
            (format!("/v2/team/app/blobs/{}", digest(config)), 200),
            ("/v2/team/app/manifests/v1".to_owned(), 200),
            ("/v2/team/app/manifests/unknown".to_owned(), 404),
        ];
        for (path, status) in paths {
            let headers = [("Accept", MANIFEST)];
            let answer = http::request(registry.port, "GET", &path, &headers, b"").unwrap();
            assert_eq!(answer.status, status, "{path}");
            let text = normal::answer(&answer, &cache.path(), &ports);
            self.answers.push(format!("GET {path}\n{text}\n"));
        }
        // A pulled blob is stored after the response.
        for bytes in [&layer[..], config] {
            let digest = digest(bytes);
            let hex = digest.trim_start_matches("sha256:");
            let below = cache.path().join("docker/registry/v2");
            let link = below.join(format!("repositories/team/app/_layers/sha256/{hex}/link"));
            wait("the cache to store a layer", || link.exists());
        }
        let uploads = cache
            .path()
            .join("docker/registry/v2/repositories/team/app/_uploads");
        wait("the cache to clear its uploads", || {
            std::fs::read_dir(&uploads).is_ok_and(|mut rows| rows.next().is_none())
        });
        drop(registry);
        self.transcript.push((
            "answers: pull-through".into(),
            std::mem::take(&mut self.answers),
        ));
        let tree = normal::tree(&cache.path());
        self.transcript
            .push(("tree: pull-through".into(), tree.into_iter().collect()));
    }

    /// Deletions, and the registry's own collection.
    pub(crate) fn deletions(&mut self) {
        let repository = "team/app";
        let config = br#"{"architecture":"amd64","os":"linux"}"#;
        let (one, two) = (image::layer(1, 100_000), image::layer(2, 300_001));
        let first = digest(&image::manifest(MANIFEST, config, &[&one]));
        self.say(
            "DELETE",
            &format!("/v2/{repository}/manifests/docker"),
            &[],
            b"",
        );
        self.say(
            "DELETE",
            &format!("/v2/{repository}/manifests/unknown"),
            &[],
            b"",
        );
        self.say(
            "DELETE",
            &format!("/v2/{repository}/manifests/{first}"),
            &[],
            b"",
        );
        self.say(
            "DELETE",
            &format!("/v2/{repository}/manifests/{first}"),
            &[],
            b"",
        );
        self.get_manifest(repository, "v1");
        let three = digest(&image::layer(3, 200_000));
        self.say(
            "DELETE",
            &format!("/v2/{repository}/blobs/{three}"),
            &[],
            b"",
        );
        self.say(
            "DELETE",
            &format!("/v2/{repository}/blobs/{three}"),
            &[],
            b"",
        );
        self.get(&format!("/v2/{repository}/blobs/{three}"));
        // Distribution 3.x gives up somewhere in its collection, at random, over a link of
        // another algorithm: it deletes the canonical link twice.
        let aliases = "docker/registry/v2/repositories/team/app/_layers/sha512";
        std::fs::remove_dir_all(self.path().join(aliases)).unwrap();
        self.phase("deletions");
        for arguments in [&["--dry-run"][..], &[], &["-m"]] {
            let printed = self.registry.collect(arguments);
            let printed = printed
                .iter()
                .map(|line| normal::text(line, &self.path(), &self.ports));
            self.answers = printed.collect();
            self.phase(&format!("collection {arguments:?}"));
        }
        self.get_manifest(repository, "v2");
        self.get(&format!("/v2/{repository}/blobs/{}", digest(&two)));
        self.get("/v2/_catalog");
        self.push_blob(repository, &one);
        self.phase("after the collection");
    }
}
