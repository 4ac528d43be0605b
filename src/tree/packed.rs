//! Packed: a place in little room, for tables that hold very many.

use std::path::Path;

use super::Place;
use crate::layout::{self, Node};

/// A place in little room. Two are equal if their places are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packed(Form);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form {
    Node(layout::CompactNode),
    Aside(Box<Place>),
}

impl Packed {
    /// The path of a plain file.
    pub fn plain(&self) -> Option<&Path> {
        match &self.0 {
            Form::Aside(place) => match &**place {
                Place::Plain(path) => Some(path),
                Place::Node(_) | Place::Draft(_) | Place::Hidden(_) | Place::Own(_) => None,
            },
            Form::Node(_) => None,
        }
    }
}

impl From<&Place> for Packed {
    fn from(place: &Place) -> Self {
        Self(match place {
            Place::Node(node) => Form::Node(node.into()),
            Place::Plain(_) | Place::Draft(_) | Place::Hidden(_) | Place::Own(_) => {
                Form::Aside(Box::new(place.clone()))
            }
        })
    }
}

impl From<&Packed> for Place {
    fn from(packed: &Packed) -> Self {
        match &packed.0 {
            Form::Node(node) => Self::Node(Node::from(node)),
            Form::Aside(place) => (**place).clone(),
        }
    }
}
