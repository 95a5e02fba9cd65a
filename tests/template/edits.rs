//! Edits of what is deployed, each of which a rule must not let pass.

use serde_json::{Value, json};

use super::{Deployment, Rule, TRANSFORMED, access, data, parameters, pool, watched};

/// Where, what stands there instead (`null`: nothing), and the rule that must name it.
fn edits() -> Vec<(&'static str, Value, Rule)> {
    let statement = "/Resources/LeasesRole/Properties/Policies/0/PolicyDocument/Statement";
    // the statement about the key is found where it stands
    let key = TRANSFORMED.pointer(statement).unwrap().as_array().unwrap();
    let key = key.iter().position(|one| one["Action"].to_string().contains("kms:")).unwrap();
    let key = |rest: &str| -> &'static str { format!("{statement}/{key}{rest}").leak() };
    vec![
        (
            "/Resources/LeasesRole/Properties/Policies/0/PolicyDocument/Statement/2/Action",
            json!("dynamodb:*"),
            access::statements,
        ),
        (
            "/Resources/LeasesRole/Properties/Policies/0/PolicyDocument/Statement/2/Resource",
            json!("*"),
            access::statements,
        ),
        (
            "/Resources/LeasesRole/Properties/Policies/0/PolicyDocument/Statement/2/Resource",
            json!({ "Fn::Sub": "${Vault.Arn}/index/*" }),
            access::statements,
        ),
        (
            "/Resources/LeasesRole/Properties/Policies/0/PolicyDocument/Statement/2/Resource",
            Value::Null,
            access::statements,
        ),
        (
            "/Resources/LeasesRole/Properties/Policies/0/PolicyDocument/Statement/1/Action",
            json!(["xray:PutTelemetryRecords", "xray:PutTraceSegments", "xray:GetSamplingRules"]),
            access::statements,
        ),
        ("/Resources/LeasesRole/Properties/Policies/0/PolicyDocument/Statement/1", Value::Null, access::traces),
        (
            "/Resources/ExpirySweepTickRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource",
            json!("*"),
            access::statements,
        ),
        ("/Resources/OauthStartStartPermission/Properties/Principal", json!("*"), access::statements),
        ("/Resources/ApiCallerAuthorizerPermission/Properties/SourceArn", Value::Null, access::statements),
        (
            "/Resources/Alarms/Template/Resources/TopicPolicy/Properties/PolicyDocument/Statement/0/Principal",
            json!("*"),
            access::statements,
        ),
        ("/Resources/Leases/Properties/Role", json!({ "Fn::GetAtt": ["TokensRole", "Arn"] }), access::roles),
        (
            "/Resources/LeasesRole/Properties/ManagedPolicyArns",
            json!(["arn:aws:iam::aws:policy/AdministratorAccess"]),
            access::roles,
        ),
        (
            "/Resources/LeasesRole/Properties/AssumeRolePolicyDocument/Statement/0/Principal",
            json!({ "AWS": "*" }),
            access::roles,
        ),
        (key("/Condition"), Value::Null, access::key),
        (key("/Condition/StringEquals"), Value::Null, access::key),
        (key("/Condition/ForAllValues:StringEquals"), Value::Null, access::key),
        (key("/Resource"), json!({ "Fn::GetAtt": ["Another", "Arn"] }), access::key),
        ("/Resources/Key/Properties/KeyPolicy/Statement/1/Condition", Value::Null, access::key),
        ("/Resources/Api/Properties/Body/paths/~1v1~1leases/post/security", json!([{ "NONE": [] }]), access::routes),
        ("/Resources/Api/Properties/Body/paths/~1v1~1leases/post/security", Value::Null, access::routes),
        ("/Resources/Api/Properties/Body/paths/~1debug", json!({ "get": {} }), access::routes),
        (
            "/Resources/Api/Properties/Body/paths/~1v1~1leases",
            json!({ "x-amazon-apigateway-any-method": { "security": [{ "Caller": [] }] } }),
            access::routes,
        ),
        (
            "/Resources/Api/Properties/Body/components/securitySchemes/Caller/x-amazon-apigateway-authorizer/identitySource",
            json!([]),
            access::routes,
        ),
        ("/Resources/ApiApiGatewayDefaultStage/Properties/DefaultRouteSettings", Value::Null, access::throttles),
        (
            "/Resources/ApiApiGatewayDefaultStage/Properties/RouteSettings/GET ~1oauth~1start",
            Value::Null,
            access::throttles,
        ),
        (
            "/Resources/ApiApiGatewayDefaultStage/Properties/RouteSettings/GET ~1openapi.json/ThrottlingRateLimit",
            json!(1000),
            access::throttles,
        ),
        ("/Resources/ApiApiGatewayDefaultStage/Properties/AccessLogSettings", Value::Null, access::logs),
        (
            "/Resources/ApiApiGatewayDefaultStage/Properties/AccessLogSettings/Format",
            json!("$context.routeKey $context.path"),
            access::logs,
        ),
        ("/Resources/LeasesLogs/Properties/RetentionInDays", Value::Null, access::logs),
        ("/Resources/Leases/Properties/LoggingConfig", Value::Null, access::logs),
        ("/Resources/Leases/Properties/LoggingConfig/LogGroup", json!({ "Ref": "TokensLogs" }), access::logs),
        ("/Resources/SpillReader/Properties/Environment/Variables/STAGE", Value::Null, access::logs),
        ("/Resources/Leases/Properties/TracingConfig", Value::Null, access::traces),
        ("/Resources/Vault/Properties/PointInTimeRecoverySpecification", Value::Null, data::tables),
        ("/Resources/Keys/Properties/PointInTimeRecoverySpecification/RecoveryPeriodInDays", json!(35), data::tables),
        ("/Resources/Vault/Properties/DeletionProtectionEnabled", json!(false), data::tables),
        ("/Resources/Flows/Properties/TimeToLiveSpecification", Value::Null, data::tables),
        ("/Resources/Flows/Properties/SSESpecification", Value::Null, data::tables),
        ("/Resources/Another", json!({ "Type": "AWS::DynamoDB::Table", "Properties": {} }), data::tables),
        ("/Resources/Vault/DeletionPolicy", Value::Null, data::kept),
        ("/Resources/SpilledForGood/UpdateReplacePolicy", Value::Null, data::kept),
        ("/Resources/Key/Properties/EnableKeyRotation", json!(false), data::kept),
        ("/Resources/SpillQueue/Properties/RedrivePolicy", Value::Null, data::queues),
        ("/Resources/SpillQueue/Properties/SqsManagedSseEnabled", Value::Null, data::queues),
        ("/Resources/SpillReader/Properties/Timeout", json!(31), data::queues),
        ("/Resources/SpillReaderSpilled/Properties/FunctionResponseTypes", Value::Null, data::queues),
        ("/Resources/ExpirySweepTick/Properties/Target/DeadLetterConfig", Value::Null, data::queues),
        ("/Resources/Alarms/Template/Resources/SpillQueueOld", Value::Null, data::queues),
        ("/Resources/Alarms/Template/Resources/SpilledForGoodNotEmpty", Value::Null, data::dead_letters),
        (
            "/Resources/Alarms/Template/Resources/MissedTicksNotEmpty/Properties/MetricName",
            json!("NumberOfMessagesSent"),
            data::dead_letters,
        ),
        ("/Resources/MissedTicks/Properties/MessageRetentionPeriod", json!(60), data::dead_letters),
        (
            "/Resources/SpillQueue/Properties/RedrivePolicy/deadLetterTargetArn",
            json!({ "Fn::GetAtt": ["Another", "Arn"] }),
            data::dead_letters,
        ),
        ("/Resources/Alarms/Template/Resources/LeasesErrors", Value::Null, watched::functions),
        (
            "/Resources/Alarms/Template/Resources/LeasesThrottles/Properties/Dimensions/0/Value",
            json!({ "Fn::Sub": "another" }),
            watched::functions,
        ),
        ("/Resources/Leases/Properties/Timeout", json!(20), watched::functions),
        (
            "/Resources/Another",
            json!({ "Type": "AWS::Lambda::Function", "Properties": { "Timeout": 3 } }),
            watched::functions,
        ),
        ("/Resources/Alarms/Template/Resources/AcquisitionStopped", Value::Null, watched::numbers),
        (
            "/Resources/Alarms/Template/Resources/SweepSilent/Properties/TreatMissingData",
            json!("notBreaching"),
            watched::numbers,
        ),
        ("/Resources/Alarms/Template/Resources/ApiErrors", Value::Null, watched::numbers),
        ("/Resources/Alarms/Template/Resources/KeysErrors", Value::Null, watched::tables),
        ("/Resources/Alarms/Template/Resources/GrantsLost/Properties/OKActions", Value::Null, watched::alarms),
        ("/Resources/Alarms/Template/Resources/GrantsLost/Properties/AlarmActions", json!([]), watched::alarms),
        ("/Resources/Alarms/Template/Resources/GrantsLost/Properties/TreatMissingData", Value::Null, watched::alarms),
        (
            "/Resources/Alarms/Template/Resources/GrantsLost/Properties/AlarmDescription",
            json!("A grant was lost."),
            watched::alarms,
        ),
        (
            "/Resources/Alarms/Template/Resources/GrantsLost/Properties/AlarmName",
            json!({ "Fn::Sub": "tokenward-${Stage}-api-slow" }),
            watched::alarms,
        ),
        ("/Resources/Alarms/Template/Resources/GrantsLost/Properties/EvaluationPeriods", json!(1000), watched::alarms),
        (
            "/Resources/Alarms/Template/Resources/TopicPolicy/Properties/PolicyDocument/Statement/0/Condition",
            Value::Null,
            watched::alarms,
        ),
        (
            "/Resources/Alarms/Template/Resources/GrantsLost/Properties/MetricName",
            json!("GrantsMislaid"),
            watched::metrics,
        ),
        (
            "/Resources/Alarms/Template/Resources/GrantsLost/Properties/Dimensions",
            json!([{ "Name": "Tenant", "Value": "acme" }]),
            watched::metrics,
        ),
        (
            "/Resources/Alarms/Template/Resources/LeasesErrors/Properties/MetricName",
            json!("Failures"),
            watched::metrics,
        ),
        (
            "/Resources/Alarms/Template/Resources/LeasesErrors/Properties/Dimensions/0/Value",
            json!({ "Fn::Sub": "tokenward-${Stage}-lease" }),
            watched::metrics,
        ),
        (
            "/Resources/Alarms/Properties/Parameters/MissedTicks",
            json!({ "Fn::GetAtt": ["Another", "QueueName"] }),
            watched::metrics,
        ),
        (
            "/Resources/Dashboard/Template/Resources/Dashboard/Properties/DashboardBody/Fn::Sub",
            json!("{"),
            watched::dashboard,
        ),
        (
            "/Resources/Dashboard/Template/Resources/Dashboard/Properties/DashboardBody/Fn::Sub",
            json!(
                r#"{"widgets":[{"properties":{"metrics":[["Tokenward","Sweeps","Stage","${Stage}","Network","x"]]}}]}"#
            ),
            watched::dashboard,
        ),
        ("/Resources/Leases/Properties/FunctionName/Fn::Sub", json!("tokenward-${Stage}-lease"), watched::dashboard),
        ("/Parameters/Stage/Description", Value::Null, parameters::parameters),
        ("/Parameters/AlarmEmail/AllowedPattern", Value::Null, parameters::parameters),
        ("/Parameters/LogRetention/AllowedValues", json!([0, 7]), parameters::parameters),
        ("/Metadata/AWS::CloudFormation::Interface/ParameterLabels/Stage", Value::Null, parameters::parameters),
        ("/Metadata/AWS::CloudFormation::Interface/ParameterGroups/0", Value::Null, parameters::parameters),
        ("/Resources/Alarms/Properties/Parameters/Vault", json!({ "Ref": "Flows" }), parameters::nested),
        ("/Resources/Alarms/Properties/Parameters/Vault", Value::Null, parameters::nested),
        (
            "/Resources/Domain/Properties/DomainNameConfigurations/0/SecurityPolicy",
            json!("TLS_1_0"),
            parameters::domain,
        ),
        ("/Resources/DomainRecord/Condition", Value::Null, parameters::domain),
        ("/Resources/Api/Properties/Body/servers", Value::Null, parameters::domain),
        (
            "/Resources/Tokens/Properties/Environment/Variables/PUBLIC_URL",
            json!({ "Ref": "PublicUrl" }),
            parameters::domain,
        ),
        ("/Rules/WithDomain", Value::Null, parameters::contradictions),
        ("/Resources/TokenClaimsPermission/Properties/SourceArn", Value::Null, access::statements),
        ("/Resources/UserPool/DeletionPolicy", Value::Null, data::kept),
        ("/Resources/UserPoolDomain/Condition", Value::Null, pool::optional),
        ("/Resources/TokenClaims/Condition", Value::Null, pool::optional),
        ("/Rules/WithIssuer", Value::Null, parameters::contradictions),
        ("/Resources/UserPool/Properties/AdminCreateUserConfig", Value::Null, pool::people),
        ("/Resources/UserPool/Properties/DeletionProtection", json!("INACTIVE"), pool::people),
        ("/Resources/UserPool/Properties/UserPoolTier", json!("LITE"), pool::people),
        (
            "/Resources/UserPool/Properties/LambdaConfig/PreTokenGenerationConfig/LambdaVersion",
            json!("V2_0"),
            pool::people,
        ),
        ("/Resources/UserPool/Properties/Schema/1/Mutable", json!(true), pool::people),
        ("/Resources/UserPoolConsole/Properties/WriteAttributes", Value::Null, pool::people),
        ("/Resources/UserPoolConsole/Properties/WriteAttributes/0", json!("custom:tenant"), pool::people),
        ("/Resources/UserPoolConsole/Properties/AllowedOAuthScopes/1", json!("tokenward/leases"), pool::people),
        (
            "/Resources/UserPoolConsole/Properties/AllowedOAuthScopes/1",
            json!("aws.cognito.signin.user.admin"),
            pool::people,
        ),
        ("/Resources/UserPoolConsole/Properties/AllowedOAuthFlows", json!(["implicit"]), pool::people),
        ("/Resources/UserPoolConsole/Properties/CallbackURLs", json!(["https://evil.example"]), pool::people),
        ("/Resources/UserPoolApi/Properties/Identifier", json!("others"), pool::agreed),
        ("/Resources/UserPoolConsole/Properties/AllowedOAuthScopes/0", json!("email"), pool::agreed),
        ("/Resources/TokenClaims/Properties/Environment/Variables/TENANT_CLAIM", json!("org"), pool::agreed),
        (
            "/Resources/Console/Properties/Environment/Variables/OIDC_ISSUER",
            json!("https://evil.example"),
            pool::agreed,
        ),
    ]
}

// S70, S71, S72
#[test]
fn no_rule_lets_an_edit_pass_that_breaks_it() {
    for (place, instead, rule) in edits() {
        let mut edited = TRANSFORMED.clone();
        let (parent, name) = place.rsplit_once('/').unwrap();
        let name = name.replace("~1", "/");
        match edited.pointer_mut(parent).unwrap_or_else(|| panic!("there is no {parent}")) {
            Value::Object(members) if instead.is_null() => {
                assert!(members.remove(&name).is_some(), "there is no {place}");
            }
            Value::Object(members) => {
                assert_ne!(members.insert(name, instead.clone()).as_ref(), Some(&instead), "{place} is that already");
            }
            Value::Array(values) => {
                let at: usize = name.parse().unwrap();
                if instead.is_null() {
                    values.remove(at);
                } else {
                    values[at] = instead.clone();
                }
            }
            other => panic!("{parent} is {other}"),
        }
        assert!(!rule(&Deployment::of(edited)).is_empty(), "this was let pass: {place} becoming {instead}");
    }
}
