//! The template as it is deployed, and texts that are none.

use super::*;

#[test]
fn the_template_says_which_function_answers_a_route() {
    let routes = &Template::deployed().routes;
    let of = |path: &str| routes.iter().find(|route| route.path == path).unwrap();
    assert_eq!(of("/oauth/callback/{network}").function, "oauth-callback");
    assert!(of("/oauth/callback/{network}").public);
    assert_eq!(of("/v1/notices").function, "tokens");
    assert!(!of("/v1/notices").public);
}

#[test]
fn intrinsic_functions_are_text() {
    let sweep = Template::deployed().functions.iter().find(|function| function.name == "expiry-sweep").unwrap();
    assert_eq!(sweep.role, "ExpirySweepRole");
    assert_eq!(sweep.timeout, 48);
    assert_eq!(sweep.environment["KMS_KEY"], "${Key.Arn}");
    let resources: Vec<_> = sweep.statements.iter().flat_map(|statement| &statement.resources).collect();
    assert!(resources.iter().any(|resource| *resource == "${Vault.Arn}/index/due"), "{resources:?}");
    assert!(resources.iter().any(|resource| resource.ends_with("identity/${Domain}")), "{resources:?}");
}

#[test]
fn the_template_says_which_function_works_off_a_queue_and_for_how_long_it_is_tried() {
    let template = Template::deployed();
    let [due, delivery] = &template.deliveries[..] else { panic!("{:?}", template.deliveries) };
    assert_eq!((&*due.function, &*due.queue, due.batch_size), ("expiry-sweep", "DueQueue", 5));
    assert_eq!((&*delivery.function, &*delivery.queue, delivery.batch_size), ("spill-reader", "SpillQueue", 10));
    for delivery in [due, delivery] {
        assert_eq!(delivery.function_response_types, ["ReportBatchItemFailures"]);
    }
    assert_eq!(template.schedules, ["expiry-sweep"]);

    let reader = template.functions.iter().find(|function| function.name == delivery.function).unwrap();
    let queue = template.queues.iter().find(|queue| queue.name == delivery.queue).unwrap();
    assert!(reader.timeout <= queue.visibility_timeout, "Lambda refuses a queue that hands out a message twice");
    let redrive = queue.redrive_policy.as_ref().unwrap();
    assert!(redrive.max_receive_count * queue.visibility_timeout >= 8 * 60 * 60, "as long as DynamoDB may be away");
    let dead_letters = template.queues.iter().find(|queue| queue.name == redrive.dead_letters).unwrap();
    assert_eq!(dead_letters.message_retention_period, queue.message_retention_period);
}

#[test]
fn a_list_holds_everything_but_the_sealed_bytes() {
    let vault = Template::deployed().tables.iter().find(|table| table.name == "Vault").unwrap();
    let by_tenant = vault.global_secondary_indexes.iter().find(|index| index.index_name == "by_tenant").unwrap();
    let listed = by_tenant.projection.non_key_attributes.as_ref().unwrap();
    assert!(listed.contains(&"state".to_owned()) && !listed.contains(&"sealed".to_owned()), "{listed:?}");
}

#[tokio::test]
async fn tables_are_made_once_and_kept() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(dynoxide::server::serve_on(listener, dynoxide::Database::memory().unwrap()));
    let dynamodb = Client::from_conf(
        aws_sdk_dynamodb::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_dynamodb::config::Region::new("eu-west-1"))
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(endpoint)
            .build(),
    );

    for _ in 0..2 {
        Template::deployed().create_tables(&dynamodb, "test-").await.unwrap();
    }

    let tables = dynamodb.list_tables().send().await.unwrap();
    assert_eq!(tables.table_names(), ["test-Flows", "test-Keys", "test-Vault"]);
    let vault = dynamodb.describe_table().table_name("test-Vault").send().await.unwrap().table.unwrap();
    assert_eq!(vault.global_secondary_indexes().len(), 4);
    let ttl = dynamodb.describe_time_to_live().table_name("test-Flows").send().await.unwrap();
    assert_eq!(ttl.time_to_live_description().unwrap().attribute_name(), Some("ttl"));
}

#[test]
fn what_is_no_template_is_refused_and_says_why() {
    for text in ["", "Resources: [", "Resources: {F: {Type: 'AWS::Serverless::Function'}}"] {
        assert!(Template::parse(text).is_err(), "{text}");
    }
}
