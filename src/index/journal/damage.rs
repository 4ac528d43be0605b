//! Damage that opening finds in a journal, and the possible loss.

use std::fmt;

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JournalFaultKind {
    /// A segment that was in use does not exist.
    SegmentMissing,
    /// A segment has the wrong length, or its header or a group followed by an intact one is
    /// unreadable.
    SegmentDamaged,
    /// A commit is missing before one that exists.
    CommitMissing,
    /// The journal ends before a batch that the index knows to have been in it.
    EndsEarly,
    /// Index and journal belong to different stores, or to different points in time.
    ForeignJournal,
}

impl JournalFaultKind {
    /// Every kind, in the order in which reports list them.
    pub const ALL: [Self; 5] = [
        Self::SegmentMissing,
        Self::SegmentDamaged,
        Self::CommitMissing,
        Self::EndsEarly,
        Self::ForeignJournal,
    ];

    /// Returns the stable name that fsck reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SegmentMissing => "journal-segment-missing",
            Self::SegmentDamaged => "journal-segment-damaged",
            Self::CommitMissing => "journal-commit-missing",
            Self::EndsEarly => "journal-ends-early",
            Self::ForeignJournal => "journal-of-another-time",
        }
    }
}

/// One thing that is wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFault {
    /// Its kind.
    pub kind: JournalFaultKind,
    /// The file or directory.
    pub path: String,
    /// A description for messages.
    pub detail: String,
}

/// All faults of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalDamage {
    /// The faults, at least one.
    pub faults: Vec<JournalFault>,
    /// Lower bound of the lost commits; 0 if unknown.
    pub lost: u64,
    /// Intact groups after the damage. They are not applied, since commits before them are lost.
    pub unapplied_groups: u64,
}

impl JournalDamage {
    /// Describes the possible loss, for messages.
    pub fn loss(&self) -> String {
        let mut text = match self.lost {
            0 => "an unknown number of the newest commits may be lost".to_owned(),
            1 => "at least 1 commit is lost".to_owned(),
            lost => format!("at least {lost} commits are lost"),
        };
        match self.unapplied_groups {
            0 => {}
            1 => text += "; 1 intact group after the damage is not applied",
            groups => {
                text = format!("{text}; {groups} intact groups after the damage are not applied");
            }
        }
        text
    }
}

impl fmt::Display for JournalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.detail)
    }
}

impl fmt::Display for JournalDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the journal is damaged: ")?;
        for (number, fault) in self.faults.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        write!(f, "; {}", self.loss())
    }
}
