//! Damage: what opening finds wrong with a journal, and what may be lost by it.

use std::fmt;

/// What is wrong with a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JournalFaultKind {
    /// A segment that was in use is not there.
    SegmentMissing,
    /// A segment has another length, its header or a group before a whole one cannot be read.
    SegmentDamaged,
    /// A commit is missing before one that is there.
    CommitMissing,
    /// The journal ends before a batch that the index knows to have been in it.
    EndsEarly,
    /// Index and journal are not of one store, or not of one time.
    ForeignJournal,
}

/// One thing that is wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFault {
    /// What.
    pub kind: JournalFaultKind,
    /// The file or directory.
    pub path: String,
    /// In words.
    pub detail: String,
}

/// Everything that is wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalDamage {
    /// What was found, at least one.
    pub faults: Vec<JournalFault>,
    /// Commits that are gone at least; 0 if none is known to be.
    pub lost: u64,
    /// Whole groups behind the damage, which are not applied, since what they follow is gone.
    pub behind: u64,
}

impl JournalDamage {
    /// What may be lost, in words.
    pub fn loss(&self) -> String {
        let mut text = match self.lost {
            0 => "the newest commits may be gone, nobody knows how many".to_owned(),
            1 => "at least 1 commit is gone".to_owned(),
            lost => format!("at least {lost} commits are gone"),
        };
        match self.behind {
            0 => {}
            1 => text += "; a whole group behind the damage is not applied",
            behind => {
                text = format!("{text}; {behind} whole groups behind the damage are not applied");
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
