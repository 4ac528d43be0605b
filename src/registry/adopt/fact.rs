//! Facts one by one: whether each is there, and how it is made.

use crate::index::{Link, TagRecord, Transaction, Upload};
use crate::name::LinkSet;
use crate::registry::directory::{ensure, link_came, made, repository, tag, upload};
use crate::registry::ownership::owned;
use crate::registry::{Directory, Error, Fact, Owner};

/// Whether a fact is there, or a newer one in its place.
pub(super) fn has(facts: &mut Transaction<'_>, fact: &Fact) -> Result<bool, Error> {
    match there(facts, fact) {
        Err(Error::Missing) => Ok(false),
        found => found,
    }
}

fn there(facts: &mut Transaction<'_>, fact: &Fact) -> Result<bool, Error> {
    Ok(match fact {
        Fact::Directory(directory) => made(facts, directory)?,
        Fact::Ownership { of, .. } => match owned(facts, of)? {
            Some(owned) => facts.ownership(owned)?.is_some(),
            None => false,
        },
        Fact::Link {
            repository: name,
            set,
            digest,
            target,
            ..
        } => {
            let id = repository(facts, name)?.id;
            let link = facts.link(id, set, digest)?;
            matches!(link, Some(Link::Linked { target: known, .. }) if known == *target)
        }
        Fact::Current {
            repository,
            tag: label,
            target,
            pushed,
        } => {
            let current = tag(facts, repository, label)?.1.current;
            current.is_some_and(|(known, since)| known == *target || since > *pushed)
        }
        Fact::Blob { digest, .. } => facts.blob(digest)?.is_some_and(|blob| blob.present),
        Fact::StartedAt {
            repository,
            upload: id,
            bytes,
        } => upload(facts, repository, id)?.1.started_at.as_ref() == Some(bytes),
        Fact::UploadData {
            repository,
            upload: id,
        } => upload(facts, repository, id)?.1.has_data,
        Fact::HashState {
            repository: name,
            upload,
            algorithm,
            offset,
            bytes,
            ..
        } => {
            let id = repository(facts, name)?.id;
            let known = facts.hash_state(id, upload, *algorithm, *offset)?;
            known.is_some_and(|(_, known)| known == *bytes)
        }
    })
}

/// Makes a fact, and the directories that lead to it.
pub(super) fn adopt(facts: &mut Transaction<'_>, fact: &Fact) -> Result<(), Error> {
    match fact {
        Fact::Directory(directory) => ensure(facts, directory),
        Fact::Ownership { of, ownership } => {
            if let Owner::Namespace(name) = of {
                ensure(facts, &Directory::Namespace(name.clone()))?;
            }
            let owned = owned(facts, of)?.ok_or(Error::Missing)?;
            facts.put_ownership(owned, *ownership);
            Ok(())
        }
        Fact::Link {
            repository: name,
            set,
            digest,
            target,
            pushed,
        } => {
            let (name, set) = (name.clone(), set.clone());
            let above = Directory::LinksAlgorithm(name.clone(), set.clone(), digest.algorithm());
            ensure(facts, &above)?;
            let id = repository(facts, &name)?.id;
            if !matches!(set, LinkSet::TagIndex(_)) {
                link_came(facts, id, &set, digest);
            }
            let link = Link::Linked {
                target: *target,
                pushed: *pushed,
            };
            Ok(facts.put_link(id, &set, digest, &link)?)
        }
        Fact::Current {
            repository,
            tag: label,
            target,
            pushed,
        } => {
            ensure(
                facts,
                &Directory::Current(repository.clone(), label.clone()),
            )?;
            let (repository, record) = tag(facts, repository, label)?;
            let record = TagRecord {
                current: Some((*target, *pushed)),
                ..record
            };
            Ok(facts.put_tag(repository.id, label, &record)?)
        }
        Fact::Blob {
            digest,
            size,
            created,
        } => Ok(facts.put_blob(digest, *size, *created)?),
        Fact::StartedAt {
            repository,
            upload: id,
            bytes,
        } => {
            ensure(facts, &Directory::Upload(repository.clone(), *id))?;
            let (repository, record) = upload(facts, repository, id)?;
            let record = Upload {
                started_at: Some(bytes.clone()),
                ..record
            };
            Ok(facts.put_upload(repository.id, id, &record)?)
        }
        Fact::UploadData {
            repository,
            upload: id,
        } => ensure(facts, &Directory::Upload(repository.clone(), *id)),
        Fact::HashState {
            repository: name,
            upload,
            algorithm,
            offset,
            updated,
            bytes,
        } => {
            let above = Directory::HashStatesAlgorithm(name.clone(), *upload, *algorithm);
            ensure(facts, &above)?;
            let id = repository(facts, name)?.id;
            let state = (*updated, bytes.as_slice());
            Ok(facts.put_hash_state(id, upload, *algorithm, *offset, state)?)
        }
    }
}
