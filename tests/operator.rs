//! What an operator does, through the command's own library, against a whole deployment with its people and workers.

use aws_sdk_dynamodb::types::AttributeValue;
use operator::{
    deployment::Deployment,
    doctor::{self, Verdict},
    reseal, restore, shred,
};
use sandbox::faults::{Fault, Mode};
use serde_json::json;
use shared::{
    access::TenantId,
    keys::{HARD_LIMIT, KeysError, Rotated, SOFT_LIMIT},
    seal::Place,
    store::{StoreError, profiles::TokenKey},
};

use crate::{
    leases::newsdesk,
    support::{Person, Row, World, minutes},
};

mod transfer;

/// The deployment as the command finds it.
pub(crate) async fn deployment(world: &World) -> Deployment {
    Deployment::of_sandbox(&world.sandbox.url().parse().unwrap()).await.unwrap()
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn desk() -> TokenKey {
    TokenKey { tenant: acme(), profile: "x_profile-42".parse().unwrap(), token: "interaction-alice".parse().unwrap() }
}

/// Lets a lease's access token run out, so that the next lease renews it.
async fn run_out(world: &World) {
    world.later(minutes(121)).await;
}

async fn pass(world: &World) -> reseal::Pass {
    reseal::reseal(&deployment(world).await, &acme(), 1000, &mut |_| ()).await.unwrap()
}

/// Puts rows back, past the product.
async fn put(world: &World, table: &str, rows: &[Row]) {
    for row in rows {
        world.dynamodb().put_item().table_name(table).set_item(Some(row.clone())).send().await.unwrap();
    }
}

/// The table is lost.
async fn lose(world: &World) {
    for row in world.rows("Vault").await {
        let delete = world.dynamodb().delete_item().table_name("Vault");
        delete.key("pk", row["pk"].clone()).key("sk", row["sk"].clone()).send().await.unwrap();
    }
}

/// The newsdesk's worker after a backup was taken into the table `RestoredVault`.
async fn backed_up() -> (World, Person, Person) {
    let (world, alice, worker) = newsdesk().await;
    sandbox::template::Template::deployed().create_tables(&world.dynamodb(), "Restored").await.unwrap();
    put(&world, "RestoredVault", &world.rows("Vault").await).await;
    (world, alice, worker)
}

async fn bring_back(world: &World, apply: bool) -> restore::Restoring {
    restore::restore(&deployment(world).await, "RestoredVault", None, apply, &mut |_| ()).await.unwrap()
}

// S27
#[tokio::test]
async fn who_rotates_at_the_same_time_gets_one_newest_version_and_the_older_one_opens() {
    let (world, ..) = newsdesk().await;
    let deployment = deployment(&world).await;
    let place = Place { tenant: "acme", profile: "p", token: "t", field: "f", generation: 1 };
    let sealed = deployment.keys().seal(&place, &"a secret".into()).await.unwrap();
    // everybody has read version 1 before anybody stores another
    let slow = |target: &str| Fault { times: 8, delay_ms: 700, ..Fault::once(target, Mode::Slow) };
    world.sandbox.faults().put(slow("kms/GenerateDataKeyWithoutPlaintext"));
    let mut rotating = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let keys = deployment.keys();
        rotating.spawn(async move { keys.rotate("acme", false).await.unwrap() });
    }
    assert_eq!(rotating.join_all().await, [Rotated::To(2); 8]);
    let standing = deployment.keys().standing("acme").await.unwrap().unwrap();
    assert_eq!((standing.newest, standing.versions), (2, vec![1, 2]));
    assert_eq!(deployment.keys().seal(&place, &"new".into()).await.unwrap().key_version(), Ok(2));
    assert!(deployment.keys().open(&place, &sealed).await.is_ok());
    assert_eq!(deployment.keys().rotate("nobody", false).await.unwrap(), Rotated::NoKey);
}

// S27
#[tokio::test]
async fn keys_that_are_rotated_under_load_cost_no_lease() {
    let (world, _, worker) = newsdesk().await;
    let deployment = deployment(&world).await;
    for version in 2..5 {
        run_out(&world).await;
        let rotating = async {
            assert_eq!(deployment.keys().rotate("acme", false).await.unwrap(), Rotated::To(version));
            reseal::reseal(&deployment, &acme(), 1000, &mut |_| ()).await.unwrap()
        };
        let leases = (0..20).map(|_| {
            let worker = worker.clone();
            async move { worker.lease().await.expect(201) }
        });
        let mut leasing: tokio::task::JoinSet<_> = leases.collect();
        rotating.await;
        while let Some(leased) = leasing.join_next().await {
            leased.unwrap();
        }
    }
    world.later(SOFT_LIMIT).await;
    run_out(&world).await;
    worker.lease().await.expect(201);
    let held = deployment.vault().token(&desk()).await.unwrap().unwrap();
    assert_eq!(held.grant.key_version(), Ok(4), "a refresh seals under the newest");
}

// S28
#[tokio::test]
async fn a_pass_seals_anew_what_is_stored_and_never_what_is_newer() {
    let (world, alice, worker) = newsdesk().await;
    let deployment = deployment(&world).await;
    let (keys, vault) = (deployment.keys(), deployment.vault());
    let session = alice.begin("x_profile", "interaction").await;
    let landing = alice.approve(&session, "support").await;
    let before = vault.token(&desk()).await.unwrap().unwrap();
    keys.rotate("acme", false).await.unwrap();
    let opened = before.grant.open(&keys).await.unwrap();
    let anew = shared::grant::SealedGrant::seal(&keys, before.grant.place.clone(), &opened).await.unwrap();

    // a refresh came between reading and writing
    run_out(&world).await;
    worker.lease().await.expect(201);
    let renewed = vault.token(&desk()).await.unwrap().unwrap();
    let late = vault.reseal(&desk(), &before, &[(&before.grant, anew)]).await;
    assert!(matches!(late, Err(StoreError::Conflict)), "{late:?}");
    assert_eq!(vault.token(&desk()).await.unwrap().unwrap(), renewed);

    keys.rotate("acme", false).await.unwrap();
    let first = pass(&world).await;
    assert_eq!(
        (first.newest, first.resealed, first.older.len()),
        (3, 2, 0),
        "the token and the parked grant: {first:?}"
    );
    let second = pass(&world).await;
    assert_eq!((second.resealed, second.current), (0, 2), "repeated, it changes nothing");
    let after = vault.token(&desk()).await.unwrap().unwrap();
    assert_eq!((after.grant.key_version(), after.renewal, after.token), (Ok(3), renewed.renewal, renewed.token));
    worker.lease().await.expect(201);
    drop(landing);
}

// S28
#[tokio::test]
async fn a_pass_leaves_what_does_not_open_as_it_is_and_says_so() {
    let (world, ..) = newsdesk().await;
    let deployment = deployment(&world).await;
    deployment.keys().rotate("acme", false).await.unwrap();
    let mut row = world.rows("Vault").await.into_iter().find(|row| row.contains_key("sealed")).unwrap();
    let foreign = row.clone();
    row.insert("generation".to_owned(), AttributeValue::N("7".to_owned()));
    put(&world, "Vault", &[row]).await;
    let pass = pass(&world).await;
    assert_eq!((pass.resealed, pass.closed, pass.older), (0, 1, [(1, 1)].into()));
    let now = world.rows("Vault").await.into_iter().find(|row| row.contains_key("sealed")).unwrap();
    assert_eq!(now["sealed"], foreign["sealed"]);
}

// S29
#[tokio::test]
async fn a_shredded_tenant_is_unreadable_at_the_hard_limit_whatever_is_down_and_others_are_untouched() {
    let (world, ..) = newsdesk().await;
    let deployment = deployment(&world).await;
    let place = |tenant| Place { tenant, profile: "p", token: "t", field: "f", generation: 1 };
    for (down, readable_after) in [("kms/Decrypt", SOFT_LIMIT), ("dynamodb/Query", HARD_LIMIT)] {
        let process = deployment_at(&world).await.keys();
        process.rotate("acme", true).await.unwrap();
        let mine = process.seal(&place("acme"), &"acme's".into()).await.unwrap();
        let others = process.seal(&place("globex"), &"globex's".into()).await.unwrap();
        deployment.keys().shred("acme").await.unwrap();
        let fault = Fault { times: u32::MAX, ..Fault::once(down, Mode::Status) };
        world.sandbox.faults().put(fault);
        world.later(readable_after - minutes(1)).await;
        assert!(process.open(&place("acme"), &mine).await.is_ok(), "{down} is down");
        world.later(minutes(1)).await;
        assert!(process.open(&place("acme"), &mine).await.is_err(), "{down} is down");
        world.no_faults().await;
        let gone = process.open(&place("acme"), &mine).await;
        assert!(matches!(gone, Err(KeysError::Shredded)), "{gone:?}");
        assert!(matches!(process.seal(&place("acme"), &"more".into()).await, Err(KeysError::Shredded)));
        assert!(process.open(&place("globex"), &others).await.is_ok());
    }
}

/// As [`deployment`], with the sandbox's own clock, which is moved meanwhile.
async fn deployment_at(world: &World) -> Deployment {
    Deployment { clock: world.sandbox.clock().clock(), ..deployment(world).await }
}

// S29
#[tokio::test]
async fn who_shreds_a_tenant_leaves_nothing_that_works_and_nobody_is_mailed() {
    let (world, alice, worker) = newsdesk().await;
    let erin = world.person("erin");
    erin.connect("x_profile", "interaction", "press").await;
    worker.lease().await.expect(201);
    let (copy, deployment) = (world.rows("Vault").await, deployment(&world).await);
    let remains = shred::shred(&deployment, &acme(), &mut |_| ()).await.unwrap();
    assert!(remains.keys == 1 && remains.rows > 2, "{remains:?}");
    assert_eq!(remains.unreadable_from, remains.backups_until - shred::BACKUPS_KEPT + HARD_LIMIT);
    worker.lease().await.refused(404, "not_found");

    // a copy of the rows is bytes that nobody opens
    world.later(HARD_LIMIT).await;
    put(&world, "Vault", &copy).await;
    worker.lease().await.refused(410, "shredded");
    assert!(shred::shred(&deployment, &acme(), &mut |_| ()).await.unwrap().rows > 0, "what was written meanwhile");
    world.later(minutes(5)).await.sweep().await;
    assert_eq!(world.mails().await.len(), 0);
    let profile = erin.get("/v1/profiles").await.expect(200)["items"][0]["state"].clone();
    assert_eq!(profile, "valid", "globex is untouched");

    // nothing is sealed for it before an operator opens it again, and then everything is new
    let session = alice.begin("x_profile", "interaction").await;
    assert!(alice.browser.get(&session.connect_url).await.status.is_server_error());
    assert!(matches!(deployment.keys().rotate("acme", false).await, Err(KeysError::Shredded)));
    assert_eq!(deployment.keys().rotate("acme", true).await.unwrap(), Rotated::To(3));
    alice.connect("x_profile", "interaction", "newsdesk").await;
    worker.lease().await.expect(201);
}

#[tokio::test]
async fn a_restored_table_replays_no_refresh_token_that_was_spent_since() {
    let (world, alice, worker) = backed_up().await;
    run_out(&world).await;
    worker.lease().await.expect(201);
    lose(&world).await;

    let listed = bring_back(&world, false).await;
    assert_eq!(world.rows("Vault").await.len(), 0, "without --apply nothing is written");
    let restored = bring_back(&world, true).await;
    assert_eq!(restored, listed, "it did what it said");
    let held = ("acme x_profile-42 interaction-alice".to_owned(), true);
    assert!(restored.brought.contains(&held), "{restored:?}");
    let again = bring_back(&world, true).await;
    assert_eq!((again.brought.len(), again.others), (0, 0), "repeated, it changes nothing: {again:?}");

    world.forget_calls().await;
    for _ in 0..3 {
        worker.lease().await.refused(409, "no_valid_token");
        run_out(&world).await;
        world.sweep().await;
    }
    assert_eq!((world.calls("x/token").await, world.calls("x/revoke").await), (0, 0), "the family lives");
    let mails = world.mails().await;
    assert_eq!(mails.len(), 1, "told once: {mails:?}");
    assert!(mails[0]["text"].as_str().unwrap().contains("brought back from a backup"), "{}", mails[0]);
    let profile = alice.get("/v1/profiles/x_profile-42").await.expect(200);
    assert_eq!(profile["tokens"][0]["reason"], json!("restored"));
    alice.reauthenticate("x_profile-42", "interaction", "newsdesk").await;
    worker.lease().await.expect(201);
}

#[tokio::test]
async fn a_restore_brings_back_neither_what_is_newer_nor_what_was_deleted_nor_a_shredded_tenant() {
    let (world, alice, _) = backed_up().await;
    let vault = deployment(&world).await.vault();
    run_out(&world).await;
    alice.reauthenticate("x_profile-42", "interaction", "newsdesk").await;
    let newer = vault.token(&desk()).await.unwrap();
    bring_back(&world, true).await;
    assert_eq!(vault.token(&desk()).await.unwrap(), newer);

    world.later(minutes(1)).await;
    alice.delete("/v1/profiles/x_profile-42/tokens/interaction-alice").await;
    let restored = bring_back(&world, true).await;
    assert_eq!((restored.deleted, vault.token(&desk()).await.unwrap()), (1, None), "{restored:?}");

    shred::shred(&deployment(&world).await, &acme(), &mut |_| ()).await.unwrap();
    let restored = bring_back(&world, true).await;
    assert!(restored.brought.is_empty() && restored.shredded > 2, "{restored:?}");
    assert_eq!(world.rows("Vault").await.len(), 0);
}

/// What the doctor says of `about`, the worst first.
async fn says(deployment: &Deployment, about: &str) -> (Verdict, String) {
    let mut findings = doctor::examine(deployment).await;
    findings.retain(|finding| finding.about == about);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    let finding = findings.first().unwrap_or_else(|| panic!("nothing is said of {about}"));
    assert_eq!(finding.mend.is_some(), finding.verdict >= Verdict::Warning, "who complains says what to do: {finding}");
    (finding.verdict, finding.to_string())
}

#[tokio::test]
async fn the_doctor_finds_a_sandbox_well_and_tells_no_secret() {
    let world = World::start().await;
    let findings = doctor::examine(&deployment(&world).await).await;
    let problems: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Problem).collect();
    assert!(problems.is_empty(), "{problems:?}");
    let text = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains(&format!("{}/oauth/callback/youtube", world.sandbox.url())), "{text}");
    let secrets = aws_sdk_secretsmanager::Client::new(world.sandbox.aws_config());
    let secret = secrets.get_secret_value().secret_id("tokenward/apps").send().await.unwrap().secret_string.unwrap();
    let apps: serde_json::Value = serde_json::from_str(&secret).unwrap();
    for app in apps.as_array().unwrap() {
        assert!(!text.contains(app["client_secret"].as_str().unwrap()), "{text}");
    }
}

#[tokio::test]
async fn the_doctor_sees_what_is_broken() {
    let world = World::start().await;
    let well = deployment(&world).await;
    let ahead = |seconds: i64| {
        let machine = well.machine.clone();
        let clock = shared::clock::Clock::from_fn(move || machine.now() + jiff::SignedDuration::from_secs(seconds));
        Deployment { machine: clock, ..well.clone() }
    };
    let with = |change: fn(&mut operator::deployment::Facts)| {
        let mut broken = well.clone();
        change(&mut broken.facts);
        broken
    };
    for (broken, about, verdict, words) in [
        (ahead(0), "clock", Verdict::Well, "as at AWS"),
        (ahead(60), "clock", Verdict::Warning, "ahead of AWS"),
        (ahead(-600), "clock", Verdict::Problem, "behind AWS"),
        (
            with(|facts| facts.vault_table = "Other".into()),
            "table vault",
            Verdict::Problem,
            "ResourceNotFoundException",
        ),
        (with(|facts| facts.vault_table = "Flows".into()), "table vault", Verdict::Problem, "has the keys"),
        (with(|facts| facts.kms_key = "alias/other".into()), "key", Verdict::Problem, "NotFoundException"),
        (with(|facts| facts.apps_secret = "other".into()), "apps", Verdict::Problem, "there is no secret"),
        (
            with(|facts| facts.public_url = "http://127.0.0.1:9".into()),
            "public url",
            Verdict::Problem,
            "does not answer",
        ),
        (
            with(|facts| facts.return_urls = "http://app.example/".into()),
            "return urls",
            Verdict::Problem,
            "must be https",
        ),
        (with(|facts| facts.mail_from = "who@other.example".into()), "mail", Verdict::Problem, "is verified"),
        (with(|facts| facts.oidc_issuer.push('x')), "issuer", Verdict::Problem, "answers 404"),
        (with(|facts| facts.spill_queue.push('x')), "spill queue", Verdict::Unknown, "NonExistentQueue"),
    ] {
        let (found, text) = says(&broken, about).await;
        assert!(found == verdict && text.contains(words), "{about}: {verdict:?} {words:?}, not {text}");
    }
}

#[tokio::test]
async fn the_doctor_sees_a_disabled_key_a_secret_that_is_no_document_and_grants_that_wait() {
    let world = World::start().await;
    let deployment = deployment(&world).await;
    let aws = world.sandbox.aws_config();
    let queue = aws_sdk_sqs::Client::new(aws).send_message().queue_url(&deployment.facts.spilled_for_good);
    queue.message_body("a sealed grant").send().await.unwrap();
    assert_eq!(says(&deployment, "spilled").await.0, Verdict::Problem);
    aws_sdk_kms::Client::new(aws).disable_key().key_id(&deployment.facts.kms_key).send().await.unwrap();
    let (verdict, text) = says(&deployment, "key").await;
    assert!(verdict == Verdict::Problem && text.contains("disabled"), "{text}");
    let secrets = aws_sdk_secretsmanager::Client::new(aws);
    let put = secrets.put_secret_value().secret_id(&deployment.facts.apps_secret);
    put.secret_string(r#"[{"network":"x","client_id":"a","client_secret":"b","colour":"c"}]"#).send().await.unwrap();
    let (verdict, text) = says(&deployment, "apps").await;
    assert!(verdict == Verdict::Problem && text.contains("not the JSON document"), "{text}");
}
