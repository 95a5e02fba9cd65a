//! Rules, one row each in their tenant's partition.

use super::{Change, Item, StoreError, profiles::Vault, read, row_key, text, unavailable, value, write};
use crate::{
    access::TenantId,
    rule::{Rule, RuleId, RuleOf, Topic},
};

const PREFIX: &str = "RULE#";

impl Vault {
    /// A rule of the tenant. Strongly, it costs a unit; else half of one, and may be a moment old.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn rule(&self, tenant: &TenantId, id: &RuleId, strongly: bool) -> Result<Option<Rule>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(tenant, id)));
        let answer = get.consistent_read(strongly).send().await.map_err(unavailable)?;
        answer.item.map(read).transpose()
    }

    /// The tenant's rules in the order of their ids, after `after`, and where the next page begins.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn rules(
        &self,
        tenant: &TenantId,
        after: Option<&RuleId>,
        limit: i32,
    ) -> Result<(Vec<Rule>, Option<RuleId>), StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(partition(tenant)))
            .expression_attribute_values(":prefix", text(PREFIX))
            .set_exclusive_start_key(after.map(|id| key(tenant, id)))
            .limit(limit)
            .send()
            .await
            .map_err(unavailable)?;
        let more = answer.last_evaluated_key.is_some();
        let rules: Vec<Rule> = answer.items.unwrap_or_default().into_iter().map(read).collect::<Result<_, _>>()?;
        let next = rules.last().filter(|_| more).map(|rule| rule.id.clone());
        Ok((rules, next))
    }

    /// Writes a new rule. Its id is random, so nothing can be there but what a repetition of this very write left.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn put_rule(&self, tenant: &TenantId, rule: &Rule) -> Result<(), StoreError> {
        let mut row = write(rule)?;
        row.extend(key(tenant, &rule.id));
        self.client.put_item().table_name(&self.table).set_item(Some(row)).send().await.map_err(unavailable)?;
        Ok(())
    }

    /// Gives a rule another topic, or lets it cover something else, or both; tells the rule as it is then, or
    /// `None` when there is none.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn change_rule(
        &self,
        tenant: &TenantId,
        id: &RuleId,
        topic: Option<&Topic>,
        of: Option<&RuleOf>,
    ) -> Result<Option<Rule>, StoreError> {
        let mut change = Change::new().when_exists("pk");
        if let Some(topic) = topic {
            change = change.set("topic", value(topic)?);
        }
        if let Some(of) = of {
            change = change.when("use", "=", value(&of.usage())?).set_all(write(of)?);
        }
        match change.carry_out(&self.client, &self.table, key(tenant, id)).await {
            Ok(row) => read(row).map(Some),
            Err(StoreError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a rule, if it is there.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn delete_rule(&self, tenant: &TenantId, id: &RuleId) -> Result<(), StoreError> {
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(key(tenant, id)));
        delete.send().await.map_err(unavailable)?;
        Ok(())
    }
}

fn partition(tenant: &TenantId) -> String {
    format!("T#{tenant}")
}

fn key(tenant: &TenantId, id: &RuleId) -> Item {
    row_key(partition(tenant), format!("{PREFIX}{id}"))
}
