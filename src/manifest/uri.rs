//! The grammar of URIs (RFC 3986), which image-spec requires for the URLs of a descriptor.

/// The parts of a URI that matter here.
pub(super) struct Uri<'a> {
    scheme: &'a str,
    has_fragment: bool,
}

impl<'a> Uri<'a> {
    /// Parses an absolute URI and checks the characters of each part.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let (rest, fragment) = parts(rest, '#');
        let (rest, query) = parts(rest, '?');
        let uri = Self {
            scheme,
            has_fragment: fragment.is_some(),
        };
        let within = |part: Option<&str>| part.is_none_or(|part| is_of(part, b":@/?"));
        let hierarchy = match rest.strip_prefix("//") {
            Some(rest) => {
                let path = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(path);
                let host_required = uri.is_web();
                is_authority(authority, host_required) && is_of(path, b":@/")
            }
            None => !uri.is_web() && is_of(rest, b":@/"),
        };
        (is_scheme(scheme) && hierarchy && within(query) && within(fragment)).then_some(uri)
    }

    /// Returns `true` for http and https.
    pub(super) fn is_web(&self) -> bool {
        ["http", "https"]
            .iter()
            .any(|one| self.scheme.eq_ignore_ascii_case(one))
    }

    /// Returns `true` if the URI has a fragment.
    pub(super) fn has_fragment(&self) -> bool {
        self.has_fragment
    }
}

/// Splits a text at the first `mark`.
fn parts(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark)
        .map_or((text, None), |(before, behind)| (before, Some(behind)))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|one: char| one.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|one| one.is_ascii_alphanumeric() || b"+-.".contains(&one))
}

/// `[userinfo@]host[:port]`.
fn is_authority(text: &str, host_required: bool) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let (host, port) = match host.strip_prefix('[') {
        Some(literal) => {
            let Some((address, rest)) = literal.split_once(']') else {
                return false;
            };
            let admitted = !address.is_empty() && is_of(address, b":");
            return admitted
                && is_of(user, b":")
                && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    is_of(user, b":") && is_of(host, b"") && is_port(port) && !(host_required && host.is_empty())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|one| one.is_ascii_digit())
}

/// Returns `true` if a text consists of unreserved, percent-encoded and sub-delimiter characters,
/// and those of `more`.
fn is_of(text: &str, more: &[u8]) -> bool {
    let mut bytes = text.bytes();
    while let Some(one) = bytes.next() {
        let admitted = match one {
            b'%' => {
                let mut digit = || bytes.next().is_some_and(|one| one.is_ascii_hexdigit());
                digit() && digit()
            }
            one => {
                one.is_ascii_alphanumeric()
                    || b"-._~!$&'()*+,;=".contains(&one)
                    || more.contains(&one)
            }
        };
        if !admitted {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_has_a_scheme_and_only_admitted_characters() {
        for good in [
            "https://example.com/a?b=c#d",
            "HTTP://user:pass@example.com:8080/",
            "https://[2001:db8::1]:443/a",
            "ipfs://bafkreidy55gp7fqspkojgasqrk4bc3ljfzupqy7ugwmmacvcalwsc3mwdq",
            "oci+layout:/a/b",
            "urn:example:a",
            "file:///a%20b",
            "s3://bucket/key",
            "data:,x",
        ] {
            assert!(Uri::of(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "value",
            "/a/b",
            "//example.com/a",
            "https://",
            "https:///a",
            "https:a",
            "https://exa mple.com/",
            "https://example.com/é",
            "https://example.com/%2",
            "https://example.com/%zz",
            "https://example.com/a\\b",
            "https://example.com/#a#b",
            "https://example.com:port/",
            "https://[::1/",
            "https://example.com/{a}",
            "1a:b",
            ":b",
            "a_b:c",
        ] {
            assert!(Uri::of(bad).is_none(), "{bad}");
        }
    }
}
