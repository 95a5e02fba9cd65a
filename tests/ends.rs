//! How credentials end at each network, from the sign-in on: the right state, notice and words, and the way back.

use serde_json::{Value, json};

use crate::{
    leases::apps::rewrite_apps,
    support::{Person, Reply, World, days, minutes},
};

/// Where a journey has come to.
struct Journey {
    world: World,
    alice: Person,
    worker: Person,
    profile: String,
}

impl Journey {
    /// Alice connects an account and allows everything that can be allowed.
    async fn begin(kind: &str, token: &str, account: &str) -> Self {
        let (world, alice) = alone().await;
        Self::of(world, alice, kind, token, account).await
    }

    async fn of(world: World, alice: Person, kind: &str, token: &str, account: &str) -> Self {
        let profile = match kind {
            "facebook_page" => alice.connect_pages(account, &["facebook_page-2001"]).await.remove(0),
            _ => alice.connect(kind, token, account).await,
        };
        let profile = profile["id"].as_str().unwrap().to_owned();
        let worker = world.person("acme-worker");
        let journey = Self { world, alice, worker, profile };
        if token == "acquisition" {
            let path = format!("/v1/profiles/{}/tokens/acquisition-alice", journey.profile);
            let allow = json!({ "allow": { "search_acquisition": true } });
            journey.alice.patch(&path, allow).await.expect(200);
        }
        let state = &journey.token().await["state"];
        assert!(state == "active" || state == "expiring", "{state}");
        journey
    }

    async fn token(&self) -> Value {
        self.alice.get(&format!("/v1/profiles/{}", self.profile)).await.expect(200)["tokens"][0].clone()
    }

    async fn publish(&self) -> Reply {
        self.worker.post("/v1/leases", json!({ "use": "publish", "profile_id": self.profile })).await
    }

    async fn happens(&self, network: &str, account: &str, event: Value) -> &Self {
        self.world.happens(network, account, event).await;
        self
    }

    /// It has ended like this, its owner is told once, and signing in again mends it.
    async fn ended(&self, state: &str, reason: Value, notice: &str, words: &str, account: &str) {
        for _ in 0..3 {
            self.world.later(minutes(5)).await.sweep().await;
        }
        let token = self.token().await;
        assert_eq!((&token["state"], &token["reason"]), (&json!(state), &reason), "{token}");
        let notices = self.alice.get("/v1/notices").await.expect(200)["items"].as_array().unwrap().clone();
        let kinds: Vec<_> = notices.iter().filter(|told| told["kind"] == notice).collect();
        assert_eq!(kinds.len(), 1, "{notices:#?}");
        let mails = self.world.mails().await;
        let told: Vec<_> = mails.iter().filter(|mail| mail["text"].as_str().unwrap().contains(words)).collect();
        assert_eq!(told.len(), 1, "{words}: {mails:#?}");
        let kind = token["token"].as_str().unwrap();
        let again = self.alice.reauthenticate(&self.profile, kind, account).await;
        assert_eq!(again["id"], json!(self.profile));
        assert_eq!(self.token().await["state"], "active");
        let before = self.world.mails().await.len();
        self.world.later(minutes(70)).await.sweep().await;
        assert_eq!(self.world.mails().await.len(), before, "an improvement mails nobody");
    }
}

async fn alone() -> (World, Person) {
    let world = World::start().await;
    let alice = world.person("alice");
    (world, alice)
}

// S59
#[tokio::test]
async fn a_family_of_refresh_tokens_that_x_revoked_ends_at_the_next_refresh() {
    let journey = Journey::begin("x_profile", "interaction", "newsdesk").await;
    journey.world.later(days(1)).await;
    journey.publish().await.expect(201);
    // somebody sends what was spent by that refresh once more, and X ends everything that came of it
    replay_everything_at_x(&journey.world).await;
    journey.world.later(days(1)).await;
    journey.publish().await.refused(409, "no_valid_token");
    let words = "X refused to renew it, and does not say why.";
    journey.ended("needs_reauth", json!("refresh_rejected"), "token_needs_reauth", words, "newsdesk").await;
}

/// Sends everything secret that X has seen to its token endpoint, as a refresh token of the app.
async fn replay_everything_at_x(world: &World) {
    let mut secret = None;
    rewrite_apps(world, |apps| {
        let app = apps.iter().find(|app| app["client_id"] == "tokenward-sandbox-x").unwrap();
        secret = app["client_secret"].as_str().map(str::to_owned);
    })
    .await;
    let url = format!("{}/api.x.com/2/oauth2/token", world.sandbox.networks_url());
    for spent in world.sandbox.networks().secrets_seen() {
        let form = [("grant_type", "refresh_token"), ("refresh_token", spent.as_str())];
        let request = world.http.post(&url).basic_auth("tokenward-sandbox-x", secret.as_ref()).form(&form);
        request.send().await.unwrap();
        if !world.sandbox.networks().grants("x", "newsdesk")[0].live {
            return;
        }
    }
    panic!("X has seen no refresh token twice");
}

#[tokio::test]
async fn a_google_app_in_testing_is_warned_of_and_ends_after_a_week() {
    let (world, alice) = alone().await;
    world.happens("youtube", "harbour.tv", json!({ "event": "app_in_testing" })).await;
    let journey = Journey::of(world, alice, "youtube_channel", "interaction", "harbour.tv").await;
    let token = journey.token().await;
    assert!(token["expires_at"].is_string(), "it is counted down from the first day: {token}");
    journey.world.later(days(5)).await.sweep().await;
    journey.publish().await.refused(400, "unsupported_use");
    let reply = json!({ "use": "reply", "profile_id": journey.profile });
    journey.worker.post("/v1/leases", reply.clone()).await.expect(201);
    journey.world.later(days(3)).await.sweep().await;
    journey.worker.post("/v1/leases", reply).await.refused(409, "no_valid_token");
    journey.happens("youtube", "harbour.tv", json!({ "event": "restore" })).await;
    let warning = &journey.world.mails().await[0];
    assert!(warning["text"].as_str().unwrap().contains("while our app is still in testing"), "{warning}");
    journey.ended("expired", Value::Null, "token_expired", "ended on", "harbour.tv").await;
    assert_eq!(journey.token().await["expires_at"], Value::Null, "an app in production is given no end");
}

#[tokio::test]
async fn a_google_grant_that_was_taken_back_ends_when_its_hour_is_over() {
    let journey = Journey::begin("youtube_channel", "interaction", "harbour.tv").await;
    journey.happens("youtube", "harbour.tv", json!({ "event": "revoke" })).await.world.later(minutes(61)).await;
    let reply = json!({ "use": "reply", "profile_id": journey.profile });
    journey.worker.post("/v1/leases", reply).await.refused(409, "no_valid_token");
    let words = "YouTube refused to renew it, and does not say why.";
    journey.ended("needs_reauth", json!("refresh_rejected"), "token_needs_reauth", words, "harbour.tv").await;
}

#[tokio::test]
async fn an_instagram_token_whose_window_was_missed_is_warned_of_late_and_ends() {
    let journey = Journey::begin("instagram_account", "acquisition", "harbour.photos").await;
    assert_eq!(journey.token().await["expires_at"], Value::Null, "while a machine renews it, it has no end");
    // the endpoint that renews fails for weeks
    let down = json!({ "target": "instagram/refresh", "mode": "status", "status": 503, "times": 1_000_000 });
    journey.world.fault(down).await;
    journey.world.later(days(51)).await.sweep().await;
    let token = journey.token().await;
    assert!(token["expires_at"].is_string() && token["state"] == "expiring", "{token}");
    assert_eq!(journey.world.mails().await.len(), 0, "one failure is nobody's concern");
    for _ in 0..8 {
        journey.world.later(days(1)).await.sweep().await;
    }
    let mails = journey.world.mails().await;
    assert_eq!(mails.len(), 3, "seven, three days and one before the end: {mails:#?}");
    journey.world.later(days(2)).await.sweep().await;
    journey.world.no_faults().await;
    journey.ended("expired", Value::Null, "token_expired", "ended on", "harbour.photos").await;
    assert_eq!(journey.token().await["expires_at"], Value::Null);
}

#[tokio::test]
async fn facebooks_second_clock_ends_a_page_and_is_counted_down() {
    let journey = Journey::begin("facebook_page", "interaction", "alice.meyer").await;
    assert!(journey.token().await["expires_at"].is_string(), "a Page's token has no end but its person's data access");
    journey.world.later(days(61)).await.sweep().await;
    assert_eq!(journey.token().await["state"], "expiring");
    journey.publish().await.expect(201);
    journey.world.later(days(30)).await.sweep().await;
    journey.publish().await.refused(409, "no_valid_token");
    journey.ended("expired", Value::Null, "token_expired", "ended on", "alice.meyer").await;
}

#[tokio::test]
async fn a_lost_role_on_a_page_is_found_within_a_day() {
    let journey = Journey::begin("facebook_page", "interaction", "alice.meyer").await;
    let lost = json!({ "event": "role_lost", "page": "2001" });
    journey.happens("facebook", "alice.meyer", lost).await.world.later(days(1)).await.sweep().await;
    journey.publish().await.refused(409, "no_valid_token");
    journey.happens("facebook", "alice.meyer", json!({ "event": "restore" })).await;
    let words = "please have the role given back to you first";
    journey.ended("needs_reauth", json!("role_lost"), "token_needs_reauth", words, "alice.meyer").await;
}

#[tokio::test]
async fn a_changed_password_and_a_removed_app_are_found_within_a_day_and_told_apart() {
    for (kind, token, account) in
        [("facebook_user", "acquisition", "alice.meyer"), ("facebook_page", "interaction", "alice.meyer")]
    {
        for (event, reason, words) in [
            ("password_changed", "password_changed", "Your password at Facebook was changed"),
            ("revoke", "app_removed", "Our app was removed from your account at Facebook."),
        ] {
            let journey = Journey::begin(kind, token, account).await;
            journey
                .happens("facebook", account, json!({ "event": event }))
                .await
                .world
                .later(days(1))
                .await
                .sweep()
                .await;
            journey.ended("needs_reauth", json!(reason), "token_needs_reauth", words, account).await;
        }
    }
}

#[tokio::test]
async fn an_instagram_account_whose_app_was_removed_is_found_within_a_day() {
    let journey = Journey::begin("instagram_account", "acquisition", "harbour.kitchen").await;
    journey.happens("instagram", "harbour.kitchen", json!({ "event": "revoke" })).await.world.later(days(1)).await;
    let words = "Our app was removed from your account at Instagram.";
    journey.ended("needs_reauth", json!("app_removed"), "token_needs_reauth", words, "harbour.kitchen").await;
}
