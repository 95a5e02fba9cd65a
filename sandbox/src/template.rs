//! What `template.yaml` deploys, read so that nobody has to say it twice.
//!
//! The sandbox serves the routes and makes the tables and queues that it finds here, and the architecture tests
//! compare the functions' environment and statements with the code. So what runs on one machine and
//! what is deployed cannot drift apart.
//!
//! Only what those readers need is read. An intrinsic function becomes the text that `Fn::Sub` would
//! take for it: `!GetAtt Vault.Arn` is `${Vault.Arn}`, `!Ref Stage` is `${Stage}`.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use aws_sdk_dynamodb::{
    Client, Error,
    error::BuildError,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, Projection, TimeToLiveSpecification,
    },
};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

static DEPLOYED: LazyLock<Template> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the text is part of this binary, and a test reads it")]
    Template::parse(include_str!("../../template.yaml")).expect("template.yaml is well formed")
});

/// The deployment, as far as the sandbox and the tests need it.
#[derive(Clone, Debug)]
pub struct Template {
    /// The DynamoDB tables.
    pub tables: Vec<Table>,
    /// The SQS queues.
    pub queues: Vec<Queue>,
    /// The Lambda functions.
    pub functions: Vec<Function>,
    /// The routes of the HTTP API.
    pub routes: Vec<Route>,
    /// The queues that are worked off by functions.
    pub deliveries: Vec<Delivery>,
    /// The functions that a schedule invokes.
    pub schedules: Vec<String>,
}

/// A DynamoDB table, in CloudFormation's own words.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Table {
    /// Its logical id, such as `Vault`.
    #[serde(skip)]
    pub name: String,
    /// The attributes that keys are made of.
    pub attribute_definitions: Vec<Attribute>,
    /// The primary key.
    pub key_schema: Vec<Key>,
    /// The global secondary indexes.
    #[serde(default)]
    pub global_secondary_indexes: Vec<Index>,
    /// The attribute by which rows end of themselves.
    pub time_to_live_specification: Option<TimeToLive>,
    /// Whether the table refuses to be deleted.
    #[serde(default)]
    pub deletion_protection_enabled: bool,
    /// Whether, and how far back, the table can be restored.
    #[serde(rename = "PointInTimeRecoverySpecification")]
    pub point_in_time_recovery: Option<PointInTimeRecovery>,
}

/// An attribute and its type (`S`, `N` or `B`).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    /// The attribute.
    pub attribute_name: String,
    /// Its type.
    pub attribute_type: String,
}

/// An attribute's part in a key (`HASH` or `RANGE`).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Key {
    /// The attribute.
    pub attribute_name: String,
    /// Its part.
    pub key_type: String,
}

/// A global secondary index.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Index {
    /// Its name, such as `by_tenant`.
    pub index_name: String,
    /// Its key.
    pub key_schema: Vec<Key>,
    /// What is copied into it.
    pub projection: Projected,
}

/// What an index holds besides keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Projected {
    /// `KEYS_ONLY`, `INCLUDE` or `ALL`.
    pub projection_type: String,
    /// The attributes of an `INCLUDE`.
    pub non_key_attributes: Option<Vec<String>>,
}

/// The attribute by which rows end of themselves.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TimeToLive {
    /// The attribute, in epoch seconds.
    pub attribute_name: String,
    /// Whether it is heeded.
    pub enabled: bool,
}

/// Continuous backups.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PointInTimeRecovery {
    /// Whether they are made.
    #[serde(rename = "PointInTimeRecoveryEnabled")]
    pub enabled: bool,
    /// How many days they reach back; DynamoDB's own default is 35.
    pub recovery_period_in_days: Option<u32>,
}

/// An SQS queue, in CloudFormation's own words and with its defaults.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Queue {
    /// Its logical id, such as `SpillQueue`.
    #[serde(skip)]
    pub name: String,
    /// For how many seconds a message that was received is not handed out again.
    #[serde(default = "thirty_seconds")]
    pub visibility_timeout: u32,
    /// After how many seconds a message is gone.
    #[serde(default = "four_days")]
    pub message_retention_period: u32,
    /// What becomes of messages that nobody could do anything with.
    pub redrive_policy: Option<RedrivePolicy>,
}

/// What becomes of messages that nobody could do anything with.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedrivePolicy {
    /// The logical id of the queue that they move to.
    #[serde(rename = "deadLetterTargetArn", deserialize_with = "of_arn")]
    pub dead_letters: String,
    /// How often a message is handed out before it moves.
    pub max_receive_count: u32,
}

fn thirty_seconds() -> u32 {
    30
}

fn four_days() -> u32 {
    4 * 24 * 60 * 60
}

/// A Lambda function.
#[derive(Clone, Debug)]
pub struct Function {
    /// The binary, which is also the crate, such as `oauth-start`.
    pub name: String,
    /// Its logical id, such as `OauthStart`.
    pub logical_id: String,
    /// The logical id of its role.
    pub role: String,
    /// After how many seconds it is stopped.
    pub timeout: u32,
    /// Its environment, with what each variable is made of.
    pub environment: BTreeMap<String, String>,
    /// What its role lets it do.
    pub statements: Vec<Statement>,
}

/// A statement of a role.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// The actions allowed.
    #[serde(rename = "Action", deserialize_with = "one_or_many")]
    pub actions: Vec<String>,
    /// What they are allowed on.
    #[serde(rename = "Resource", deserialize_with = "one_or_many")]
    pub resources: Vec<String>,
    /// When they are allowed: operator → key → value.
    #[serde(default)]
    pub condition: BTreeMap<String, BTreeMap<String, Value>>,
}

/// A route of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The HTTP method.
    pub method: String,
    /// The path as API Gateway writes it, such as `/v1/profiles/{id}`.
    pub path: String,
    /// The function that answers.
    pub function: String,
    /// Whether it is served without asking the authorizer.
    pub public: bool,
}

/// An event source: Lambda takes messages from the queue and invokes the function with them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Delivery {
    /// The function that works the messages off.
    #[serde(skip)]
    pub function: String,
    /// The logical id of the queue.
    #[serde(deserialize_with = "of_arn")]
    pub queue: String,
    /// How many messages an invocation gets at most.
    pub batch_size: u32,
    /// What the function's answer may say; `ReportBatchItemFailures`: which of the messages failed.
    #[serde(default)]
    pub function_response_types: Vec<String>,
}

impl Template {
    /// The template of this very deployment.
    #[must_use]
    pub fn deployed() -> &'static Self {
        &DEPLOYED
    }

    /// Makes those tables, named `prefix` and their logical id, that are not there yet.
    ///
    /// # Errors
    /// What DynamoDB answers, except that a table exists.
    pub async fn create_tables(&self, dynamodb: &Client, prefix: &str) -> Result<(), Error> {
        for table in &self.tables {
            match table.create(dynamodb, format!("{prefix}{}", table.name)).await {
                Err(Error::ResourceInUseException(_)) => {}
                created => created?,
            }
        }
        Ok(())
    }

    /// Whether the tables that are there have the indexes of these: tables of another version may not.
    ///
    /// # Errors
    /// What DynamoDB answers.
    pub async fn fits_tables(&self, dynamodb: &Client) -> Result<bool, Error> {
        for table in &self.tables {
            let found = dynamodb.describe_table().table_name(&table.name).send().await?.table;
            let there = found.and_then(|found| found.global_secondary_indexes).unwrap_or_default();
            let there: BTreeSet<_> = there.iter().filter_map(|index| index.index_name()).collect();
            let wanted: BTreeSet<_> = table.global_secondary_indexes.iter().map(|index| &*index.index_name).collect();
            if there != wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
        let document = documents.first().map_or(Value::Null, plain);
        let resources = document["Resources"].as_object().ok_or_else(|| "no Resources".to_owned())?;
        let of = |kind: &str| {
            let kind = Value::from(kind);
            resources.iter().filter(move |(_, resource)| resource["Type"] == kind)
        };
        let mut template = Self {
            tables: Vec::new(),
            queues: Vec::new(),
            functions: Vec::new(),
            routes: Vec::new(),
            deliveries: Vec::new(),
            schedules: Vec::new(),
        };
        for (id, resource) in of("AWS::DynamoDB::Table") {
            template.tables.push(Table { name: id.clone(), ..read(&resource["Properties"])? });
        }
        for (id, resource) in of("AWS::SQS::Queue") {
            template.queues.push(Queue { name: id.clone(), ..read(&resource["Properties"])? });
        }
        for (id, resource) in of("AWS::Serverless::Function") {
            let name = read::<String>(&resource["Metadata"]["BuildProperties"]["Binary"])?;
            let properties = Properties::over(&document["Globals"]["Function"], &resource["Properties"])?;
            for event in properties.events.into_values() {
                match event.kind.as_str() {
                    "HttpApi" => template.routes.push(event.route(&name)?),
                    "SQS" => {
                        template.deliveries.push(Delivery { function: name.clone(), ..read(&event.properties)? });
                    }
                    "ScheduleV2" => template.schedules.push(name.clone()),
                    _ => {}
                }
            }
            let role = logical_id(&properties.role).to_owned();
            template.functions.push(Function {
                statements: statements(&resources.get(&role).unwrap_or(&Value::Null)["Properties"])?,
                name,
                logical_id: id.clone(),
                role,
                timeout: properties.timeout,
                environment: properties.environment.variables,
            });
        }
        Ok(template)
    }
}

impl Table {
    async fn create(&self, dynamodb: &Client, name: String) -> Result<(), Error> {
        let mut request = dynamodb.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
        for attribute in &self.attribute_definitions {
            request = request.attribute_definitions(
                AttributeDefinition::builder()
                    .attribute_name(&attribute.attribute_name)
                    .attribute_type(attribute.attribute_type.as_str().into())
                    .build()?,
            );
        }
        request = request.set_key_schema(Some(key_schema(&self.key_schema)?));
        for index in &self.global_secondary_indexes {
            let projection = Projection::builder()
                .projection_type(index.projection.projection_type.as_str().into())
                .set_non_key_attributes(index.projection.non_key_attributes.clone())
                .build();
            request = request.global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(&index.index_name)
                    .set_key_schema(Some(key_schema(&index.key_schema)?))
                    .projection(projection)
                    .build()?,
            );
        }
        request.send().await?;
        if let Some(ttl) = &self.time_to_live_specification {
            let specification =
                TimeToLiveSpecification::builder().attribute_name(&ttl.attribute_name).enabled(ttl.enabled).build()?;
            dynamodb.update_time_to_live().table_name(name).time_to_live_specification(specification).send().await?;
        }
        Ok(())
    }
}

fn key_schema(keys: &[Key]) -> Result<Vec<KeySchemaElement>, BuildError> {
    keys.iter()
        .map(|key| {
            let key_type = key.key_type.as_str().into();
            KeySchemaElement::builder().attribute_name(&key.attribute_name).key_type(key_type).build()
        })
        .collect()
}

/// The properties of a function that are read, those of `Globals` included.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    role: String,
    timeout: u32,
    #[serde(default)]
    environment: Environment,
    #[serde(default)]
    events: BTreeMap<String, Event>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Environment {
    variables: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Properties")]
    properties: Value,
}

impl Properties {
    fn over(globals: &Value, own: &Value) -> Result<Self, String> {
        let mut all = globals.as_object().cloned().unwrap_or_default();
        all.extend(own.as_object().cloned().unwrap_or_default());
        read(&Value::Object(all))
    }
}

impl Event {
    fn route(self, function: &str) -> Result<Route, String> {
        Ok(Route {
            method: read(&self.properties["Method"])?,
            path: read(&self.properties["Path"])?,
            function: function.to_owned(),
            public: self.properties["Auth"]["Authorizer"] == "NONE",
        })
    }
}

fn statements(role: &Value) -> Result<Vec<Statement>, String> {
    let policies = read::<Vec<Value>>(&role["Policies"])?;
    let mut all = Vec::new();
    for policy in policies {
        all.extend(read::<Vec<Statement>>(&policy["PolicyDocument"]["Statement"])?);
    }
    Ok(all)
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("{error} in {value}"))
}

/// The resource whose ARN is named: `Queue` in `${Queue.Arn}`.
fn logical_id(arn: &str) -> &str {
    arn.trim_start_matches("${").trim_end_matches(".Arn}")
}

fn of_arn<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(logical_id(&String::deserialize(deserializer)?).to_owned())
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

/// The node as JSON, intrinsic functions as text.
fn plain(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Boolean(value)) => Value::from(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::from(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Value::from(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => Value::from(value.as_ref()),
        Yaml::Sequence(nodes) => nodes.iter().map(plain).collect(),
        Yaml::Mapping(entries) => {
            entries.iter().map(|(key, value)| (key.as_str().unwrap_or_default().to_owned(), plain(value))).collect()
        }
        Yaml::Tagged(tag, node) => match (tag.suffix.as_str(), plain(node)) {
            ("Ref" | "GetAtt", Value::String(target)) => Value::from(format!("${{{target}}}")),
            ("Sub", Value::Array(mut text)) if !text.is_empty() => text.swap_remove(0),
            (_, value) => value,
        },
        Yaml::Value(Scalar::Null) | Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => Value::Null,
    }
}
