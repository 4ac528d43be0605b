//! Paths after the rename of a repository, or of a directory that leads to some.

use super::Node;
use crate::name::{Namespace, RepositoryName};

impl Node {
    /// The path of this node after `from` is renamed to `to`; `None` if it is not below `from`.
    pub fn moved(&self, from: &Namespace, to: &Namespace) -> Option<Self> {
        let within = match self {
            Self::Namespace(namespace) => namespace,
            other => other.repository()?.namespace(),
        };
        within.moved(from, to)?;
        let path = self.to_string();
        let rest = path.strip_prefix(&Self::Namespace(from.clone()).to_string())?;
        Self::parse(&format!("{}{rest}", Self::Namespace(to.clone())))
    }
}

/// The name of a repository after `from` is renamed to `to`; `None` if it is not below `from`.
pub fn moved(name: &RepositoryName, from: &Namespace, to: &Namespace) -> Option<RepositoryName> {
    let new: Namespace = name.namespace().moved(from, to)?.parse().ok()?;
    new.repository()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_below_a_renamed_namespace_move() {
        let (from, to) = ("team/app".parse().unwrap(), "other".parse().unwrap());
        let moved = |path: &str| {
            let node = Node::parse(path).unwrap();
            node.moved(&from, &to).map(|node| node.to_string())
        };
        for rest in ["", "/deep", "/_layers", "/_manifests/tags/v1/current/link"] {
            let new = format!("repositories/other{rest}");
            assert_eq!(moved(&format!("repositories/team/app{rest}")), Some(new));
        }
        for path in [
            "repositories/team",
            "repositories/team/app2/_layers",
            "blobs",
        ] {
            assert_eq!(moved(path), None);
        }
    }
}
