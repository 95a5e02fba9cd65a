//! Tokens on their way from one deployment to another.

use operator::transfer::{self, Identity, Transfer};
use shared::access::TenantId;

use super::{acme, deployment, desk};
use crate::{leases::newsdesk, support::World};

/// What was exported, and what the command said.
async fn export(world: &World, moving: bool) -> (Identity, Vec<u8>, Transfer) {
    let (identity, recipient) = Identity::new().unwrap();
    let mut out = Vec::new();
    let deployment = deployment(world).await;
    let exported = transfer::export(&deployment, &acme(), &recipient, moving, &mut out, &mut |_| ()).await.unwrap();
    (identity, out, exported)
}

async fn import(world: &World, identity: &Identity, mut file: &[u8], tenant: Option<&TenantId>) -> Transfer {
    transfer::import(&deployment(world).await, tenant, identity, &mut file, &mut |_| ()).await.unwrap()
}

#[tokio::test]
async fn a_refresh_token_that_works_once_is_moved_and_never_copied() {
    let (here, _, worker) = newsdesk().await;
    let (_, _, copied) = export(&here, false).await;
    assert_eq!((copied.profiles, copied.tokens, copied.left.len()), (1, 0, 1), "{copied:?}");
    worker.lease().await.expect(201);

    let secret = {
        let deployment = deployment(&here).await;
        let held = deployment.vault().token(&desk()).await.unwrap().unwrap();
        held.grant.open(&deployment.keys()).await.unwrap()
    };
    let (identity, file, moved) = export(&here, true).await;
    assert_eq!((moved.tokens, moved.left.len()), (1, 0), "{moved:?}");
    let plain = |secret: &secrecy::SecretString| {
        let secret = secrecy::ExposeSecret::expose_secret(secret).as_bytes();
        file.windows(secret.len()).any(|window| window == secret)
    };
    assert!(!plain(&secret.access_token) && !plain(secret.refresh_token.as_ref().unwrap()));
    worker.lease().await.refused(409, "no_valid_token");
    here.sweep().await;
    assert_eq!((here.calls("x/revoke").await, here.mails().await.len()), (0, 0), "it lives on elsewhere");

    // into the same network, under another tenant: a second deployment is one that shares nothing but the network
    let globex = "globex".parse().unwrap();
    let imported = import(&here, &identity, &file, Some(&globex)).await;
    assert_eq!((imported.profiles, imported.tokens, imported.there), (1, 1, 0), "{imported:?}");
    let again = import(&here, &identity, &file, Some(&globex)).await;
    assert_eq!((again.profiles, again.tokens, again.there), (0, 0, 1), "twice changes nothing: {again:?}");
    let there = here.person("globex-worker");
    there.lease().await.expect(201);
    super::run_out(&here).await;
    there.lease().await.expect(201);
    assert_eq!(here.calls("x/token").await, 2, "the sign-in and one refresh: the family lives");
}

#[tokio::test]
async fn a_copy_keeps_its_switches_and_never_takes_the_place_of_a_newer_sign_in() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let profile = alice.get("/v1/profiles").await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/profiles/{profile}/tokens/acquisition-alice");
    alice.patch(&path, serde_json::json!({ "allow": { "search_acquisition": true } })).await.expect(200);
    let (identity, file, exported) = export(&world, false).await;
    assert_eq!((exported.tokens, exported.left.len()), (1, 0), "{exported:?}");

    let globex = "globex".parse().unwrap();
    assert_eq!(import(&world, &identity, &file, Some(&globex)).await.tokens, 1);
    let vault = deployment(&world).await.vault();
    let pool = vault.pool(&globex, shared::profile::Network::Facebook, shared::profile::Use::SearchAcquisition).await;
    assert_eq!(pool.unwrap().len(), 1, "it is allowed there as it was here");

    world.later(crate::support::minutes(1)).await;
    alice.reauthenticate(&profile, "acquisition", "alice.meyer").await;
    let before = world.rows("Vault").await;
    assert_eq!(import(&world, &identity, &file, None).await.there, 1);
    assert_eq!(world.rows("Vault").await, before);
}

#[tokio::test]
async fn an_export_that_was_cut_off_or_is_for_another_is_refused() {
    let (world, ..) = newsdesk().await;
    let (identity, file, _) = export(&world, true).await;
    let deployment = deployment(&world).await;
    let other = Identity::new().unwrap().0;
    for (identity, mut file) in
        [(&other, file.as_slice()), (&identity, &file[..file.len() - 1]), (&identity, &file[..3])]
    {
        let imported = transfer::import(&deployment, None, identity, &mut file, &mut |_| ()).await;
        assert!(imported.is_err(), "{imported:?}");
    }
}
