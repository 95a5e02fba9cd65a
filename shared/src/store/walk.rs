//! Whole tables, page by page, for an operator's rare work. No function reads a table like this.

use aws_sdk_dynamodb::Client;

use super::{Item, StoreError, flows::Flows, key_part, profiles::Vault, row_key, text, unavailable};
use crate::access::TenantId;

/// Where a reader of a whole table goes on. What is written meanwhile may be missed.
#[derive(Debug, Default)]
pub struct Walk {
    start: Option<Item>,
    over: bool,
}

impl Walk {
    /// The next rows for which `filter` holds, few or none of them perhaps; `None` after the last page.
    pub(super) async fn next(
        &mut self,
        client: &Client,
        table: &str,
        filter: Option<(&str, Item)>,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        if self.over {
            return Ok(None);
        }
        let mut scan = client.scan().table_name(table).consistent_read(true).set_exclusive_start_key(self.start.take());
        if let Some((expression, values)) = filter {
            scan = scan.filter_expression(expression).set_expression_attribute_values(Some(values));
        }
        let answer = scan.send().await.map_err(unavailable)?;
        self.start = answer.last_evaluated_key;
        self.over = self.start.is_none();
        Ok(Some(answer.items.unwrap_or_default()))
    }
}

/// The rows of the Vault table that are a tenant's, whatever they hold.
fn of_tenant(tenant: &TenantId) -> (&'static str, Item) {
    let values = [(":own", format!("T#{tenant}")), (":below", format!("T#{tenant}#"))];
    let values = values.map(|(name, value)| (name.to_owned(), text(value)));
    ("pk = :own OR begins_with(pk, :below)", values.into())
}

impl Vault {
    /// Deletes the next rows of a tenant, whatever they hold; tells how many, and `None` when the whole table was read.
    ///
    /// # Errors
    /// When the table does not answer; what was deleted stays deleted.
    pub async fn erase(&self, tenant: &TenantId, walk: &mut Walk) -> Result<Option<usize>, StoreError> {
        let Some(rows) = walk.next(&self.client, &self.table, Some(of_tenant(tenant))).await? else { return Ok(None) };
        for row in &rows {
            let (Some(pk), Some(sk)) = (key_part(row, "pk"), key_part(row, "sk")) else { continue };
            let delete = self.client.delete_item().table_name(&self.table).set_key(Some(row_key(pk, sk)));
            delete.send().await.map_err(unavailable)?;
        }
        Ok(Some(rows.len()))
    }
}

impl Flows {
    /// As [`Vault::erase`]: the tenant's connect sessions, and the revocations that nobody can make any more.
    ///
    /// # Errors
    /// When the table does not answer; what was deleted stays deleted.
    pub async fn erase(&self, tenant: &TenantId, walk: &mut Walk) -> Result<Option<usize>, StoreError> {
        let Some(rows) = self.of_tenant(tenant, walk).await? else { return Ok(None) };
        for id in rows.iter().filter_map(|row| key_part(row, "id")) {
            let delete = self.client.delete_item().table_name(&self.table).key("id", text(id));
            delete.send().await.map_err(unavailable)?;
        }
        Ok(Some(rows.len()))
    }

    /// The next rows of a tenant; `None` when the whole table was read.
    pub(super) async fn of_tenant(&self, tenant: &TenantId, walk: &mut Walk) -> Result<Option<Vec<Item>>, StoreError> {
        let tenant = Item::from([(":tenant".to_owned(), text(tenant.as_str()))]);
        walk.next(&self.client, &self.table, Some(("tenant = :tenant", tenant))).await
    }
}
