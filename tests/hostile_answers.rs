//! Answers that no network should give (`shared::network` reads them without a network).

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::{
    network::{Failure, Grant},
    profile::Network,
};

use crate::networks_talk::{answer, identify, inspection, judge, ok, redeem, refresh, revoke, x_token};

/// Bodies that no network should send.
fn hostile() -> Vec<Vec<u8>> {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(20_000), close.repeat(20_000)).into_bytes();
    let text = |body: &str| body.as_bytes().to_vec();
    vec![
        Vec::new(),
        vec![0],
        vec![0xff; 64],
        text("null"),
        text("[]"),
        text("\"text\""),
        text("<html>busy</html>"),
        text("{\"access_token\":\"a"),
        text("{}{}"),
        text("{\"access_token\":\"a\"} trailing"),
        [b"{\"access_token\":\"".as_slice(), &[0xc3, 0x28], b"\"}"].concat(),
        text("{\"access_token\":\"a\",\"access_token\":\"b\"}"),
        deep("[", "]"),
        deep("{\"data\":", "}"),
        deep("{\"error\":{\"code\":", "}}"),
    ]
}

/// Values that stand where others should.
fn misfits() -> Vec<Value> {
    let huge: Value = serde_json::from_str("18446744073709551615").unwrap();
    vec![json!({}), json!([1]), json!(true), json!(-1), json!(1.5), json!(1e300), huge, json!("\u{0}"), json!("")]
}

// S67
#[test]
fn an_answer_that_makes_no_sense_is_unreadable_at_every_step() {
    let unreadable = |failure: Option<Failure>| matches!(failure, Some(Failure::Unreadable(_)));
    let short = json!({ "access_token": "short" });
    for body in hostile() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        for status in [200, 400] {
            let told = || answer(status, body.clone());
            assert!(unreadable(redeem(Network::X, [told()]).outcome.err()), "{status} {shown}");
            assert!(unreadable(identify(Network::X, [told()]).outcome.err()), "{status} {shown}");
            assert!(
                unreadable(refresh(Network::X, [told()]).and_then(|refresh| refresh.outcome.err())),
                "{status} {shown}"
            );
            for network in Network::ALL {
                assert_eq!(judge(network, &told()), Ok(()), "{status} {shown}: it says nothing against the token");
            }
            assert!(unreadable(redeem(Network::Facebook, [told()]).outcome.err()), "{status} {shown}");
            assert!(unreadable(redeem(Network::Facebook, [ok(&short), told()]).outcome.err()), "{status} {shown}");
            assert!(unreadable(identify(Network::Facebook, [told()]).outcome.err()), "{status} {shown}");
            assert!(
                unreadable(identify(Network::Facebook, [ok(&inspection()), told()]).outcome.err()),
                "{status} {shown}"
            );
            assert!(unreadable(revoke(Network::Facebook, told()).err()), "{status} {shown}");
        }
        assert!(unreadable(revoke(Network::X, answer(400, body)).err()), "{shown}");
    }
}

// S67, S79
#[test]
fn a_field_of_the_wrong_type_is_unreadable_or_harmless_and_never_a_panic() {
    let me = json!({ "data": { "id": "42", "name": "News Desk" } });
    let user = json!({ "id": "1001", "name": "Alice Meyer" });
    for misfit in misfits() {
        for field in ["access_token", "refresh_token", "expires_in", "scope"] {
            let mut token = x_token();
            token[field] = misfit.clone();
            for grant in [redeem(Network::X, [ok(&token)]).outcome, refresh(Network::X, [ok(&token)]).unwrap().outcome]
            {
                if field == "access_token" {
                    let is_whole = |grant: &Grant| misfit.is_string() && !grant.access_token.expose_secret().is_empty();
                    assert!(grant.as_ref().map_or(true, is_whole), "{field}: {misfit}");
                    continue;
                }
                // credentials are kept, whatever the other fields are
                let grant = grant.unwrap();
                assert_eq!(grant.access_token.expose_secret(), "new-access", "{field}: {misfit}");
                let kept = grant.refresh_token.is_some_and(|token| token.expose_secret() == "new-refresh");
                assert!(kept || field == "refresh_token", "{field}: {misfit}");
            }
        }
        for field in ["id", "name"] {
            let (mut of_x, mut of_facebook) = (me.clone(), user.clone());
            of_x["data"][field] = misfit.clone();
            of_facebook[field] = misfit.clone();
            let harmless = field == "name" && misfit.is_string();
            let x = identify(Network::X, [ok(&of_x)]).outcome;
            assert_eq!(x.is_ok(), harmless, "{field}: {misfit}");
            let facebook = identify(Network::Facebook, [ok(&inspection()), ok(&of_facebook)]).outcome;
            assert_eq!(facebook.is_ok(), harmless, "{field}: {misfit}");
        }
        for field in ["code", "error_subcode", "is_transient", "message"] {
            let mut error = json!({ "code": 190, "error_subcode": 460, "is_transient": false, "message": "words" });
            error[field] = misfit.clone();
            let judged = judge(Network::Facebook, &answer(400, json!({ "error": error }).to_string()));
            let of_the_token = matches!(judged, Err(Failure::Dead(_) | Failure::Unavailable));
            assert!(judged.is_ok() || of_the_token, "{field}: {misfit} gave {judged:?}");
        }
        for field in ["app_id", "is_valid", "user_id", "scopes", "expires_at", "data_access_expires_at", "error"] {
            let mut told = inspection();
            told["data"][field] = misfit.clone();
            if let Ok(identity) = identify(Network::Facebook, [ok(&told), ok(&user)]).outcome {
                assert_eq!(identity.account.external_id, "1001", "{field}: {misfit}");
            }
        }
    }
}

// S67
#[test]
fn an_account_is_taken_with_an_id_for_keys_and_a_name_for_one_line_or_not_at_all() {
    let long = "9".repeat(65);
    for id in ["", "4#2", "4/../2", "../me", "42\n", "42\u{0}", "x#y", "٤٢", long.as_str()] {
        let me = ok(&json!({ "data": { "id": id, "name": "News Desk" } }));
        assert_eq!(identify(Network::X, [me]).outcome.err(), Some(Failure::Unreadable("x me")), "{id:?}");
    }
    let endless = "é".repeat(100_000);
    for (name, kept) in [
        ("News Desk", "News Desk".to_owned()),
        ("News\r\nDesk\u{0}", "NewsDesk".to_owned()),
        ("", "42".to_owned()),
        (" \n", "42".to_owned()),
        (endless.as_str(), "é".repeat(200)),
    ] {
        let me = ok(&json!({ "data": { "id": "42", "name": name } }));
        assert_eq!(identify(Network::X, [me]).outcome.unwrap().account.name, kept);
    }
}
