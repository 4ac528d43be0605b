//! The rate-limited log of refusals: at most one line per second for each rule.
//!
//! Suppressed lines are counted, and the count is logged with the next line of any rule, or when
//! the mount ends. `.regfs/rejected` has the newest 1,000 of them all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::Level;

/// The target of the log lines, so that their level can be set separately.
const TARGET: &str = "refused";
/// For how long a rule is silent after a line.
const SILENCE: Duration = Duration::from_secs(1);

/// The state of each rule, by name.
#[derive(Debug, Default)]
pub(super) struct RateLimitedLog(BTreeMap<&'static str, RuleState>);

#[derive(Debug)]
struct RuleState {
    level: Level,
    logged: Instant,
    suppressed: u64,
}

impl RateLimitedLog {
    /// Logs a line of a rule, or counts it as suppressed.
    pub(super) fn log(&mut self, rule: &'static str, level: Level, text: &str, now: Instant) {
        if self.admits(rule, level, now) {
            log::log!(target: TARGET, level, "{text}");
        }
        self.summarize_rules(|_, state| now.duration_since(state.logged) >= SILENCE);
    }

    /// Returns `true` if a rule may log now; otherwise counts the line as suppressed.
    fn admits(&mut self, rule: &'static str, level: Level, now: Instant) -> bool {
        let Some(state) = self.0.get_mut(rule) else {
            let (logged, suppressed) = (now, 0);
            let state = RuleState {
                level,
                logged,
                suppressed,
            };
            self.0.insert(rule, state);
            return true;
        };
        if now.duration_since(state.logged) < SILENCE {
            state.suppressed += 1;
            return false;
        }
        if state.suppressed > 0 {
            summarize(rule, state);
        }
        state.logged = now;
        true
    }

    /// Logs how many lines of each rule were suppressed. Called when the mount ends.
    pub(super) fn log_suppressed(&mut self) {
        self.summarize_rules(|_, _| true);
    }

    /// Logs the number of suppressed lines of the rules that `which` selects.
    fn summarize_rules(&mut self, which: impl Fn(&str, &RuleState) -> bool) {
        for (rule, state) in &mut self.0 {
            if state.suppressed > 0 && which(rule, state) {
                summarize(rule, state);
            }
        }
    }
}

fn summarize(rule: &str, state: &mut RuleState) {
    let count = std::mem::take(&mut state.suppressed);
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
    fn a_rule_logs_once_a_second_and_others_meanwhile() {
        let mut limited = RateLimitedLog::default();
        let now = Instant::now();
        assert!(limited.admits("one", Level::Warn, now));
        for _ in 0..9 {
            assert!(!limited.admits("one", Level::Warn, now));
        }
        assert!(limited.admits("other", Level::Warn, now));
        let suppressed =
            |limited: &RateLimitedLog| limited.0.get("one").map(|rule| rule.suppressed);
        assert_eq!(suppressed(&limited), Some(9));
        assert!(limited.admits("one", Level::Warn, now + SILENCE));
        assert_eq!(suppressed(&limited), Some(0));
    }

    #[test]
    fn suppressed_lines_are_counted_with_the_next_line_of_any_rule() {
        let mut limited = RateLimitedLog::default();
        let now = Instant::now();
        for _ in 0..3 {
            limited.log("one", Level::Warn, "refused", now);
        }
        assert_eq!(limited.0.get("one").map(|rule| rule.suppressed), Some(2));
        limited.log("other", Level::Warn, "refused", now + SILENCE);
        assert_eq!(limited.0.get("one").map(|rule| rule.suppressed), Some(0));
    }
}
