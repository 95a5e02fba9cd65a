//! The trigger by which a Cognito user pool makes access tokens that name the caller's organisation.
//!
//! Cognito calls it before it signs a token (pre token generation, event version 3, see
//! <https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-lambda-pre-token-generation.html>) and takes the
//! claims that the answer adds. Whose token it is, the pool's administrator alone decides: a person's organisation is the
//! attribute `custom:tenant`, which no client may write; a worker's is the scope `tenants/<id>`, one of those that its client
//! may ask for. What callers say of themselves (`clientMetadata`) is not read.
//!
//! A caller of no organisation, or of several, gets a token without one, and the authorizer refuses it: what is not known is
//! never guessed, and a slip of the administrator is no failure of this function.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::access::{Role, TenantId};

/// The attribute of the pool that holds a person's tenant.
const TENANT_ATTRIBUTE: &str = "custom:tenant";
/// The resource server of the pool whose scopes are tenants, for the clients of workers.
const TENANT_SCOPES: &str = "tenants/";

/// Everything that this function can reach: nothing. What it knows is which claims the authorizer reads.
pub struct TokenClaims {
    /// The claim for the tenant.
    pub tenant_claim: String,
    /// The claim for the roles.
    pub roles_claim: String,
    /// The claim for the groups with which profiles can be shared.
    pub groups_claim: String,
}

/// Why no answer could be given; Cognito then gives no token.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The event is not what Cognito sends. What it said is left out: it holds attributes of a person.
    #[error("the event is none of a pre token generation trigger of version 3")]
    Event,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    trigger_source: String,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    user_attributes: Option<Map<String, Value>>,
    group_configuration: Option<Groups>,
    scopes: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Groups {
    /// All groups of the person; those with roles of IAM and those without.
    groups_to_override: Option<Vec<String>>,
}

impl TokenClaims {
    /// Answers one event of Cognito: the same event, with the claims to add in its `response`.
    ///
    /// # Errors
    /// [`Unanswered`] when the event cannot be read.
    pub fn invoke(&self, mut event: Value) -> Result<Value, Unanswered> {
        let Event { trigger_source, request } = Event::deserialize(&event).map_err(|_| Unanswered::Event)?;
        let claims = match trigger_source.as_str() {
            "TokenGeneration_ClientCredentials" => self.of_worker(&request),
            _ => self.of_person(request),
        };
        if !claims.contains_key(&self.tenant_claim) {
            tracing::warn!(trigger = %trigger_source, "a caller of no organisation signs in: its token will open nothing");
        }
        event["response"] = json!({ "claimsAndScopeOverrideDetails": {
            "accessTokenGeneration": { "claimsToAddOrOverride": claims },
        } });
        Ok(event)
    }

    /// A worker has a tenant and nothing else; what it may do are its scopes.
    fn of_worker(&self, request: &Request) -> Map<String, Value> {
        let mut named = request.scopes.iter().flatten().filter_map(|scope| scope.strip_prefix(TENANT_SCOPES));
        let tenant = named.next().filter(|_| named.next().is_none()).and_then(|tenant| tenant.parse().ok());
        self.tenant(tenant)
    }

    /// Groups that are called like a role are roles, and all others are groups to share with. Without any role the claim is
    /// left out, and the person may look.
    fn of_person(&self, request: Request) -> Map<String, Value> {
        let attribute = |name: &str| request.user_attributes.as_ref()?.get(name)?.as_str();
        let mut claims = self.tenant(attribute(TENANT_ATTRIBUTE).and_then(|tenant| tenant.parse().ok()));
        // an address that nobody proved to read is none to write to
        if let Some(email) = attribute("email").filter(|_| attribute("email_verified") == Some("true")) {
            claims.insert("email".to_owned(), email.into());
        }
        let groups = request.group_configuration.unwrap_or_default().groups_to_override.unwrap_or_default();
        let (roles, groups): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.parse::<Role>().is_ok());
        if !roles.is_empty() {
            claims.insert(self.roles_claim.clone(), roles.into());
        }
        claims.insert(self.groups_claim.clone(), groups.into());
        claims
    }

    fn tenant(&self, tenant: Option<TenantId>) -> Map<String, Value> {
        tenant.map(|tenant| (self.tenant_claim.clone(), tenant.as_str().into())).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger() -> TokenClaims {
        let [tenant_claim, roles_claim, groups_claim] = ["tenant", "roles", "groups"].map(str::to_owned);
        TokenClaims { tenant_claim, roles_claim, groups_claim }
    }

    /// The claims that are added for a request of this source.
    fn claims(source: &str, request: &Value) -> Value {
        let event = json!({ "version": "3", "triggerSource": source, "request": request, "response": {} });
        let answer = trigger().invoke(event).unwrap();
        answer["response"]["claimsAndScopeOverrideDetails"]["accessTokenGeneration"]["claimsToAddOrOverride"].clone()
    }

    // S38
    #[test]
    fn what_the_pool_knows_of_a_person_becomes_claims() {
        let person = |attributes: Value, groups: Value| {
            let request = json!({ "userAttributes": attributes, "groupConfiguration": { "groupsToOverride": groups }, "scopes": ["openid"] });
            claims("TokenGeneration_HostedAuth", &request)
        };
        for (attributes, groups, expected) in [
            (
                json!({ "custom:tenant": "acme", "email": "alice@acme.example", "email_verified": "true" }),
                json!(["manager", "newsroom", "administrator"]),
                json!({ "tenant": "acme", "email": "alice@acme.example", "roles": ["manager", "administrator"], "groups": ["newsroom"] }),
            ),
            (json!({ "custom:tenant": "acme" }), json!([]), json!({ "tenant": "acme", "groups": [] })),
            (json!({ "custom:tenant": "acme" }), json!(null), json!({ "tenant": "acme", "groups": [] })),
            // nobody proved that the address is theirs
            (
                json!({ "custom:tenant": "acme", "email": "boss@acme.example", "email_verified": "false" }),
                json!([]),
                json!({ "tenant": "acme", "groups": [] }),
            ),
            // another attribute with that name is not the one that the pool's administrator sets
            (json!({ "tenant": "acme" }), json!([]), json!({ "groups": [] })),
            (json!({ "custom:tenant": "acme#P" }), json!([]), json!({ "groups": [] })),
        ] {
            assert_eq!(person(attributes.clone(), groups.clone()), expected, "{attributes} {groups}");
        }
    }

    // S38
    #[test]
    fn a_workers_organisation_is_the_one_that_its_client_may_work_for() {
        let worker = |scopes: Value| claims("TokenGeneration_ClientCredentials", &json!({ "scopes": scopes }));
        for (scopes, expected) in [
            (json!(["tokenward/leases", "tenants/acme"]), json!({ "tenant": "acme" })),
            (json!(["tokenward/leases"]), json!({})),
            (json!(["tokenward/leases", "tenants/acme", "tenants/globex"]), json!({})),
            (json!(["tokenward/leases", "others/tenants/acme"]), json!({})),
            (json!(["tokenward/leases", "tenants/"]), json!({})),
            (json!([]), json!({})),
        ] {
            assert_eq!(worker(scopes.clone()), expected, "{scopes}");
        }
    }

    // S38
    #[test]
    fn nobody_says_for_themself_which_organisation_they_belong_to() {
        let told = json!({ "tenant": "acme", "custom:tenant": "acme" });
        let worker = json!({ "scopes": ["tokenward/leases"], "clientMetadata": told, "userAttributes": told });
        assert_eq!(claims("TokenGeneration_ClientCredentials", &worker), json!({}));
        // nor does a person by the scope of a worker
        let person = json!({ "scopes": ["openid", "tenants/acme"], "clientMetadata": told, "userAttributes": {} });
        assert_eq!(claims("TokenGeneration_RefreshTokens", &person), json!({ "groups": [] }));
    }

    #[test]
    fn an_event_of_something_else_is_refused_without_telling_what_it_held() {
        for event in [json!(null), json!({}), json!({ "triggerSource": "PreSignUp_SignUp", "alice@acme.example": 1 })] {
            let refused = trigger().invoke(event).unwrap_err().to_string();
            assert!(!refused.contains("alice"), "{refused}");
        }
    }
}
