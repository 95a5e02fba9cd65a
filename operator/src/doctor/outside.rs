//! What is reached as everybody reaches it: the clock, the addresses, the issuer.

use jiff::fmt::rfc2822;
use serde_json::Value;
use shared::{connect::ReturnUrls, profile::Network};
use url::Url;

use super::Finding;
use crate::{deployment::Deployment, web};

/// AWS takes no signature that is further off, in seconds.
const SIGNED_WITHIN: i64 = 5 * 60;
/// A clock that is further off, in seconds, is worth a look.
const CLOSE: i64 = 30;
/// How a key of the issuer may sign; no key that is shared, and never `none`.
const SIGNING: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// Whether this machine has the time that AWS has.
pub(super) async fn clock(deployment: &Deployment) -> Vec<Finding> {
    let about = "clock";
    let answer = match page(deployment, "/openapi.json") {
        Some(url) => web::get(&url).await.ok(),
        None => None,
    };
    let date = answer.and_then(|answer| answer.date).and_then(|date| rfc2822::parse(&date).ok());
    let Some(date) = date else {
        return vec![Finding::unknown(about, "nobody told the time: PublicUrl does not answer")];
    };
    let off = deployment.machine.now().as_second() - date.timestamp().as_second();
    let says = format!("this machine is {} s {} AWS", off.abs(), if off < 0 { "behind" } else { "ahead of" });
    let mend = "Set this machine's clock: requests that are signed five minutes off are refused.";
    vec![if off.abs() <= CLOSE {
        Finding::well(about, "as at AWS")
    } else if off.abs() < SIGNED_WITHIN {
        Finding::warning(about, says, mend)
    } else {
        Finding::problem(about, says, mend)
    }]
}

/// Whether browsers find the API, where the networks send them back to, and where we may.
pub(super) async fn addresses(deployment: &Deployment) -> Vec<Finding> {
    let facts = &deployment.facts;
    let mut findings = Vec::new();
    let described = match page(deployment, "/openapi.json") {
        Some(url) => web::get(&url).await.map_err(|error| error.to_string()),
        None => Err("it is no address".to_owned()),
    };
    let is_ours = |body: &[u8]| serde_json::from_slice::<Value>(body).is_ok_and(|api| api["openapi"].is_string());
    let mend = "Let PublicUrl be the API's own address (output ApiUrl), or map your domain to the API.";
    findings.push(match described {
        Ok(answer) if answer.status == 200 && is_ours(&answer.body) => {
            Finding::well("public url", format!("{} answers", facts.public_url))
        }
        Ok(answer) => {
            let says = format!("{}/openapi.json answers {} and is not the API", facts.public_url, answer.status);
            Finding::problem("public url", says, mend)
        }
        Err(error) => Finding::problem("public url", format!("{}: {error}", facts.public_url), mend),
    });
    for network in Network::ALL {
        let says = format!("{}/oauth/callback/{network}", facts.public_url);
        findings.push(Finding::well("redirect uri", format!("{says}   register it at {}", network.title())));
    }
    findings.push(match ReturnUrls::parse(&facts.return_urls) {
        Ok(_) => Finding::well("return urls", facts.return_urls.clone()),
        Err(error) => Finding::problem("return urls", error.to_string(), "Set ReturnUrls anew and deploy."),
    });
    findings
}

/// Whether the authorizer will find the issuer's keys.
pub(super) async fn issuer(deployment: &Deployment) -> Vec<Finding> {
    let (about, issuer) = ("issuer", deployment.facts.oidc_issuer.as_str());
    let mend = "Set OidcIssuer exactly as in the iss claim, and see that its discovery document is public.";
    let document = match document(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).await {
        Ok(document) => document,
        Err(says) => return vec![Finding::problem(about, says, mend)],
    };
    if document["issuer"] != issuer {
        let says = format!("its discovery document is about {}, not {issuer}", document["issuer"]);
        return vec![Finding::problem(about, says, mend)];
    }
    let keys = match document["jwks_uri"].as_str() {
        Some(address) => self::document(address).await,
        None => Err("its discovery document names no keys".to_owned()),
    };
    let keys = match keys {
        Ok(keys) => keys,
        Err(says) => return vec![Finding::problem(about, says, mend)],
    };
    let keys = keys["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let usable = keys.iter().filter(|key| signs(key)).count();
    let mend = "Let the issuer sign with an asymmetric algorithm (RS256, ES256, …) and publish the key with a kid.";
    vec![match usable {
        0 => Finding::problem(about, format!("none of its {} keys is one that may sign", keys.len()), mend),
        _ => Finding::well(about, format!("{issuer} publishes {usable} signing keys")),
    }]
}

/// Whether the authorizer takes a signature of this key: asymmetric, for signing, and named.
fn signs(key: &Value) -> bool {
    let asymmetric = matches!(key["kty"].as_str(), Some("RSA" | "EC" | "OKP"));
    let algorithm = key["alg"].as_str().is_none_or(|algorithm| SIGNING.contains(&algorithm));
    asymmetric && algorithm && key["use"].as_str().is_none_or(|usage| usage == "sig") && key["kid"].is_string()
}

async fn document(address: &str) -> Result<Value, String> {
    let url = Url::parse(address).map_err(|_| format!("{address} is no address"))?;
    if url.scheme() != "https" && !web::is_loopback(&url) {
        return Err(format!("{address} is not https"));
    }
    let answer = web::get(&url).await.map_err(|error| format!("{address}: {error}"))?;
    match (answer.status, serde_json::from_slice(&answer.body)) {
        (200, Ok(document)) => Ok(document),
        (200, Err(_)) => Err(format!("{address} is no JSON")),
        (status, _) => Err(format!("{address} answers {status}")),
    }
}

fn page(deployment: &Deployment, path: &str) -> Option<Url> {
    Url::parse(&deployment.facts.public_url).ok()?.join(path).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_is_shared_for_encryption_or_without_a_name_signs_nothing() {
        for (key, usable) in [
            (json!({ "kty": "RSA", "kid": "1" }), true),
            (json!({ "kty": "EC", "kid": "1", "alg": "ES256", "use": "sig" }), true),
            (json!({ "kty": "oct", "kid": "1", "alg": "HS256" }), false),
            (json!({ "kty": "RSA", "kid": "1", "use": "enc" }), false),
            (json!({ "kty": "RSA", "kid": "1", "alg": "RSA-OAEP" }), false),
            (json!({ "kty": "RSA" }), false),
        ] {
            assert_eq!(signs(&key), usable, "{key}");
        }
    }
}
