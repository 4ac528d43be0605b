//! Compact places: a place in few bytes, for tables that hold very many.

use std::path::Path;

use super::Place;
use crate::layout::{self, Node};

/// A place in few bytes. Two are equal if their places are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompactPlace(PlaceRepr);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PlaceRepr {
    Node(layout::CompactNode),
    Boxed(Box<Place>),
}

impl CompactPlace {
    /// Returns the path of a plain file below the top of the mount; `None` for other places.
    pub fn plain(&self) -> Option<&Path> {
        match &self.0 {
            PlaceRepr::Boxed(place) => match &**place {
                Place::Plain(path) => Some(path),
                Place::Node(_) | Place::Pending(_) | Place::Hidden(_) | Place::Control(_) => None,
            },
            PlaceRepr::Node(_) => None,
        }
    }
}

impl From<&Place> for CompactPlace {
    fn from(place: &Place) -> Self {
        Self(match place {
            Place::Node(node) => PlaceRepr::Node(node.into()),
            Place::Plain(_) | Place::Pending(_) | Place::Hidden(_) | Place::Control(_) => {
                PlaceRepr::Boxed(Box::new(place.clone()))
            }
        })
    }
}

impl From<&CompactPlace> for Place {
    fn from(packed: &CompactPlace) -> Self {
        match &packed.0 {
            PlaceRepr::Node(node) => Self::Node(Node::from(node)),
            PlaceRepr::Boxed(place) => (**place).clone(),
        }
    }
}
