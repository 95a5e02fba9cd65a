//! The user pool that is made where no identity provider is named: whoever is let in is who an administrator says.

use serde_json::{Value, json};

use super::{Deployment, many, target, texts};

/// The scopes of the pool's resource server that no person's client may ask for, and the one of Cognito that would let a
/// person change their own attributes.
const NOT_FOR_PEOPLE: [&str; 2] = ["tokenward/leases", "aws.cognito.signin.user.admin"];

pub(super) fn optional(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, resource) in &deployment.resources {
        let of_pool = resource["Type"].as_str().unwrap_or_default().starts_with("AWS::Cognito::");
        if (of_pool || id.starts_with("TokenClaims")) && resource["Condition"] != "HasPool" {
            broken.push(format!("{id} is made although another identity provider is named"));
        }
    }
    broken
}

pub(super) fn people(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, pool) in deployment.all("AWS::Cognito::UserPool") {
        if pool["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"] != true {
            broken.push(format!("{id}: whoever likes signs up"));
        }
        if pool["DeletionProtection"] != "ACTIVE" {
            broken.push(format!("{id} can be deleted by a slip"));
        }
        let trigger = &pool["LambdaConfig"]["PreTokenGenerationConfig"];
        let asked = target(&trigger["LambdaArn"]) == "TokenClaims" && trigger["LambdaVersion"] == "V3_0";
        if !asked || pool["UserPoolTier"] != "ESSENTIALS" {
            broken.push(format!("{id}: tokens of people or of workers do not say whose they are: {trigger}"));
        }
        let tenant = many(&pool["Schema"]).iter().find(|attribute| attribute["Name"] == "tenant");
        if tenant.is_none_or(|attribute| attribute["Mutable"] != false) {
            broken.push(format!("{id}: a person's organisation can change"));
        }
    }
    for (id, client) in deployment.all("AWS::Cognito::UserPoolClient") {
        let writes = texts(&client["WriteAttributes"]);
        if writes.is_empty() || writes.iter().any(|attribute| attribute.starts_with("custom:")) {
            broken.push(format!("{id} may write attributes that say whose a token is: {writes:?}"));
        }
        let scopes = texts(&client["AllowedOAuthScopes"]);
        if scopes.iter().any(|scope| NOT_FOR_PEOPLE.contains(scope) || scope.starts_with("tenants/")) {
            broken.push(format!("{id}: a person may ask for what is a worker's: {scopes:?}"));
        }
        if client["AllowedOAuthFlows"] != json!(["code"]) || client["GenerateSecret"] != false {
            broken.push(format!("{id} signs in otherwise than by code and PKCE"));
        }
        let urls = [&client["CallbackURLs"], &client["LogoutURLs"]];
        if urls.into_iter().any(|urls| many(urls).len() != 1 || !urls.to_string().contains("${Url}/console")) {
            broken.push(format!("{id} leads elsewhere than to the console: {urls:?}"));
        }
    }
    broken
}

/// What the authorizer and the console are given is what the pool gives.
pub(super) fn agreed(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let variables = |function: &str| &deployment.resource(function)["Properties"]["Environment"]["Variables"];
    let with_pool = |value: &Value| {
        let given = value["Fn::Sub"][1].as_object().and_then(|given| given.values().next());
        given.map_or(Value::Null, |given| given["Fn::If"][1].clone())
    };
    for (id, server) in deployment.all("AWS::Cognito::UserPoolResourceServer") {
        let audience = with_pool(&variables("Authorizer")["OIDC_AUDIENCE"]);
        if server["Identifier"] != audience || audience.is_null() {
            broken.push(format!("{id} is not the audience that the authorizer asks for: {audience}"));
        }
    }
    let [scope, allowed] = [
        &with_pool(&variables("Console")["CONSOLE_SCOPE"]),
        &deployment.resource("UserPoolConsole")["Properties"]["AllowedOAuthScopes"],
    ];
    if scope.as_str().unwrap_or_default() != texts(allowed).join(" ") {
        broken.push(format!("the console asks for {scope} and may ask for {allowed}"));
    }
    for claim in ["TENANT_CLAIM", "ROLES_CLAIM", "GROUPS_CLAIM"] {
        let [written, read] = ["TokenClaims", "Authorizer"].map(|function| &variables(function)[claim]);
        if written != read || read.is_null() {
            broken.push(format!("{claim} is written as {written} and read as {read}"));
        }
    }
    let issuers = ["Authorizer", "Console"].map(|function| with_pool(&variables(function)["OIDC_ISSUER"]));
    if issuers[0] != issuers[1] || !issuers[0].to_string().contains("${UserPool}") {
        broken.push(format!("the authorizer and the console have other issuers: {issuers:?}"));
    }
    broken
}
