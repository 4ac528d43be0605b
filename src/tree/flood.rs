//! Floods: of refusals that one rule makes, summarised in the log.
//!
//! A line a second at most for each rule. What was not logged is counted, and told with the next
//! line of any rule, or when the mount ends; all of it can be read elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::Level;

/// What the log files them under, so that it can have a level of its own.
const TARGET: &str = "refused";
/// How long a rule that has spoken is silent.
const SILENCE: Duration = Duration::from_secs(1);

/// When each rule last spoke, and what it kept to itself since.
#[derive(Debug, Default)]
pub(super) struct Flood(BTreeMap<&'static str, Rule>);

#[derive(Debug)]
struct Rule {
    level: Level,
    spoke: Instant,
    silent: u64,
}

impl Flood {
    /// Logs a line of a rule, or counts it.
    pub(super) fn log(&mut self, rule: &'static str, level: Level, text: &str, now: Instant) {
        if self.admits(rule, level, now) {
            log::log!(target: TARGET, level, "{text}");
        }
        self.tell(|_, state| now.duration_since(state.spoke) >= SILENCE);
    }

    /// Whether a rule may speak now; if not, that is counted.
    fn admits(&mut self, rule: &'static str, level: Level, now: Instant) -> bool {
        let Some(state) = self.0.get_mut(rule) else {
            let (spoke, silent) = (now, 0);
            let state = Rule {
                level,
                spoke,
                silent,
            };
            self.0.insert(rule, state);
            return true;
        };
        if now.duration_since(state.spoke) < SILENCE {
            state.silent += 1;
            return false;
        }
        if state.silent > 0 {
            summarise(rule, state);
        }
        state.spoke = now;
        true
    }

    /// Tells what all rules kept to themselves: the mount ends.
    pub(super) fn end(&mut self) {
        self.tell(|_, _| true);
    }

    /// Tells what rules kept to themselves.
    fn tell(&mut self, which: impl Fn(&str, &Rule) -> bool) {
        for (rule, state) in &mut self.0 {
            if state.silent > 0 && which(rule, state) {
                summarise(rule, state);
            }
        }
    }
}

fn summarise(rule: &str, state: &mut Rule) {
    let count = std::mem::take(&mut state.silent);
    log::log!(
        target: TARGET,
        state.level,
        "{count} more refused or found by the audit ({rule}): see .regfs/rejected"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_speaks_once_a_second_and_others_meanwhile() {
        let mut flood = Flood::default();
        let now = Instant::now();
        assert!(flood.admits("one", Level::Warn, now));
        for _ in 0..9 {
            assert!(!flood.admits("one", Level::Warn, now));
        }
        assert!(flood.admits("other", Level::Warn, now));
        let silent = |flood: &Flood| flood.0.get("one").map(|rule| rule.silent);
        assert_eq!(silent(&flood), Some(9));
        assert!(flood.admits("one", Level::Warn, now + SILENCE));
        assert_eq!(silent(&flood), Some(0));
    }

    #[test]
    fn what_was_not_logged_is_told_with_the_next_line_of_any_rule() {
        let mut flood = Flood::default();
        let now = Instant::now();
        for _ in 0..3 {
            flood.log("one", Level::Warn, "refused", now);
        }
        assert_eq!(flood.0.get("one").map(|rule| rule.silent), Some(2));
        flood.log("other", Level::Warn, "refused", now + SILENCE);
        assert_eq!(flood.0.get("one").map(|rule| rule.silent), Some(0));
    }
}
