//! Finds what is due and sends it on, in errands for those who do it.

use std::collections::BTreeMap;

use shared::{
    access::TenantId,
    clock::Deadline,
    due::{Errand, MESSAGES, ROWS},
    edge::Fatal,
    store::profiles::DueRow,
};

use crate::{ROW, Summary, Sweep};

/// While more messages than this wait, a tick adds none: what is due would be sent on again and again. Ten invocations
/// work them off within a minute.
pub const BACKLOG: u32 = 100;

/// What was found and is not sent yet.
#[derive(Default)]
struct Found {
    errands: Vec<Errand>,
    /// Rows of tenants that do not fill an errand yet.
    rows: BTreeMap<TenantId, Vec<DueRow>>,
    flows: Vec<String>,
}

impl Sweep {
    /// Sends on what is due, unless much of what was sent before is not begun yet: rows stay due.
    pub(crate) async fn dispatch(&self, deadline: Deadline) -> Result<Summary, Fatal> {
        let (vault, flows, now) = (&self.revoker.vault, &self.revoker.flows, self.clock.now());
        let mut summary = Summary { waiting: self.due.waiting().await?, ..Summary::default() };
        if summary.waiting > BACKLOG {
            tracing::warn!(waiting = summary.waiting, "so much waits that this tick adds nothing");
            summary.unfinished = true;
            return Ok(summary);
        }
        let mut found = Found::default();
        let (mut of_vault, mut of_flows) = (vault.due_cursor(), flows.due_cursor());
        while let Some(rows) = vault.due(&mut of_vault, now).await? {
            for (tenant, row) in rows {
                found.add(tenant, row);
            }
            self.send_on(&mut found, MESSAGES, &mut summary).await?;
            summary.unfinished = deadline.left() < ROW;
            if summary.unfinished {
                break;
            }
        }
        while !summary.unfinished
            && let Some(ids) = flows.due(&mut of_flows, now).await?
        {
            for id in ids {
                found.add_flow(id);
            }
            self.send_on(&mut found, MESSAGES, &mut summary).await?;
            summary.unfinished = deadline.left() < ROW;
        }
        found.close();
        self.send_on(&mut found, 1, &mut summary).await?;
        Ok(summary)
    }

    /// Sends what there is, if it is at least so many errands.
    async fn send_on(&self, found: &mut Found, least: usize, summary: &mut Summary) -> Result<(), Fatal> {
        if found.errands.len() >= least {
            self.due.send(&found.errands).await?;
            let rows: usize = found.errands.drain(..).map(|errand| errand.rows()).sum();
            summary.dispatched = summary.dispatched.saturating_add(rows.try_into().unwrap_or(u32::MAX));
        }
        Ok(())
    }
}

impl Found {
    fn add(&mut self, tenant: TenantId, row: DueRow) {
        let rows = self.rows.entry(tenant.clone()).or_default();
        rows.push(row);
        if rows.len() == ROWS {
            let rows = std::mem::take(rows);
            self.errands.push(Errand::Vault { tenant, rows });
        }
    }

    fn add_flow(&mut self, id: String) {
        self.flows.push(id);
        if self.flows.len() == ROWS {
            self.errands.push(Errand::Flows(std::mem::take(&mut self.flows)));
        }
    }

    /// Nothing more comes: what fills no errand goes in one that it does not fill.
    fn close(&mut self) {
        let rows = std::mem::take(&mut self.rows).into_iter().filter(|(_, rows)| !rows.is_empty());
        self.errands.extend(rows.map(|(tenant, rows)| Errand::Vault { tenant, rows }));
        if !self.flows.is_empty() {
            self.errands.push(Errand::Flows(std::mem::take(&mut self.flows)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_travel_with_those_of_their_tenant_ten_at_a_time_and_none_is_left_behind() {
        for (of_acme, of_globex, flows, sizes) in [
            (0, 0, 0, vec![]),
            (1, 0, 0, vec![1]),
            (10, 1, 0, vec![10, 1]),
            (23, 10, 11, vec![10, 10, 10, 10, 3, 1]),
            (0, 0, 20, vec![10, 10]),
        ] {
            let mut found = Found::default();
            let row = |number: usize| DueRow::Removal(format!("person-{number}").parse().unwrap());
            (0..of_acme).for_each(|number| found.add("acme".parse().unwrap(), row(number)));
            (0..of_globex).for_each(|number| found.add("globex".parse().unwrap(), row(number)));
            (0..flows).for_each(|number| found.add_flow(number.to_string()));
            found.close();
            let mut sent: Vec<_> = found.errands.iter().map(Errand::rows).collect();
            sent.sort_by(|less, more| more.cmp(less));
            assert_eq!(sent, sizes, "{of_acme}, {of_globex} and {flows}");
            let rows = |wanted: &str| -> usize {
                let of_tenant =
                    |errand: &&Errand| matches!(errand, Errand::Vault { tenant, .. } if tenant.as_str() == wanted);
                found.errands.iter().filter(of_tenant).map(Errand::rows).sum()
            };
            assert_eq!((rows("acme"), rows("globex")), (of_acme, of_globex));
        }
    }
}
