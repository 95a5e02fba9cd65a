//! `tokenward doctor`: what is wrong with a deployment, and what to do about it.
//!
//! It looks at what a person would have to look at in ten consoles, changes nothing, and prints nothing secret. What it may
//! not ask or cannot ask is told as such: silence is never taken for health.

use std::fmt;

use crate::deployment::Deployment;

mod cloud;
mod outside;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Well,
    /// It could not be found out.
    Unknown,
    /// It works, and somebody should look at it.
    Warning,
    /// Something does not work, or will be lost.
    Problem,
}

impl Verdict {
    /// One word for a terminal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Problem => "PROBLEM",
        }
    }
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub about: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was seen.
    pub says: String,
    /// What to do.
    pub mend: Option<&'static str>,
}

impl Finding {
    fn well(about: &'static str, says: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Well, says: says.into(), mend: None }
    }

    fn warning(about: &'static str, says: impl Into<String>, mend: &'static str) -> Self {
        Self { about, verdict: Verdict::Warning, says: says.into(), mend: Some(mend) }
    }

    fn problem(about: &'static str, says: impl Into<String>, mend: &'static str) -> Self {
        Self { about, verdict: Verdict::Problem, says: says.into(), mend: Some(mend) }
    }

    fn unknown(about: &'static str, says: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Unknown, says: says.into(), mend: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {:<14} {}", self.verdict.word(), self.about, self.says)?;
        if let Some(mend) = self.mend {
            write!(f, "\n{:<24}{mend}", "")?;
        }
        Ok(())
    }
}

/// What nobody here looks at.
pub const NOT_LOOKED_AT: &str = "not looked at: when the sweep last ran (its log group says), the settings of your apps at \
                                 the networks, and whether anybody reads the alarms";

/// Looks at everything.
pub async fn examine(deployment: &Deployment) -> Vec<Finding> {
    let mut findings = outside::clock(deployment).await;
    findings.extend(cloud::tables(deployment).await);
    findings.extend(cloud::key(deployment).await);
    findings.extend(cloud::apps(deployment).await);
    findings.extend(outside::addresses(deployment).await);
    findings.extend(cloud::mail(deployment).await);
    findings.extend(outside::issuer(deployment).await);
    findings.extend(cloud::queues(deployment).await);
    findings
}
