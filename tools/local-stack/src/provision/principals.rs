//! Roles and users, with the policies of `infra/backplane.json`.

use std::collections::BTreeMap;

use anyhow::Result;
use aws_http::Credentials;
use futures::future::{try_join, try_join_all};
use operator::aws::Aws;
use operator::backplane::{Country, Principal, PrincipalKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::arns::Arns;

/// Creates a role for each function, and for everybody else a user with an access key; the keys by logical name.
pub(super) async fn create_principals(aws: &Aws, arns: &Arns<'_>) -> Result<BTreeMap<String, Credentials>> {
    let credentials = try_join_all(arns.backplane.principals.iter().map(async |(logical_name, principal)| {
        match principal.kind {
            PrincipalKind::CountryWorker => {
                let countries = arns.backplane.countries();
                try_join_all(countries.map(async |country| create_role(aws, arns, principal, Some(&country)).await))
                    .await?;
            }
            PrincipalKind::Function => create_role(aws, arns, principal, None).await?,
            PrincipalKind::User => {
                return anyhow::Ok(Some((logical_name.clone(), create_user(aws, arns, principal).await?)));
            }
        }
        Ok(None)
    }))
    .await?;
    Ok(credentials.into_iter().flatten().collect())
}

/// The trust policy of a role that Lambda's functions take on.
#[must_use]
pub fn lambda_trust_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    })
}

async fn create_role(aws: &Aws, arns: &Arns<'_>, principal: &Principal, country: Option<&Country>) -> Result<()> {
    let backplane = arns.backplane;
    let code = country.map(|country| country.code.as_str());
    let name = backplane.principal_name(principal, code);
    let trust = lambda_trust_policy().to_string();
    aws.iam("CreateRole", &[("RoleName", &name), ("AssumeRolePolicyDocument", &trust)]).await?;
    let policy = backplane.policy(principal, code, |resource| arns.of(resource, country))?.to_string();
    aws.iam("PutRolePolicy", &[("RoleName", &name), ("PolicyName", &name), ("PolicyDocument", &policy)]).await?;
    Ok(())
}

async fn create_user(aws: &Aws, arns: &Arns<'_>, principal: &Principal) -> Result<Credentials> {
    /// The part of the response to `CreateAccessKey` that is read.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct CreateAccessKey {
        create_access_key_result: Created,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Created {
        access_key: AccessKey,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct AccessKey {
        access_key_id: String,
        secret_access_key: String,
    }

    let backplane = arns.backplane;
    let name = backplane.principal_name(principal, None);
    aws.iam("CreateUser", &[("UserName", &name)]).await?;
    let policy = backplane.policy(principal, None, |resource| arns.of(resource, None))?.to_string();
    let put_policy = [("UserName", name.as_str()), ("PolicyName", &name), ("PolicyDocument", &policy)];
    let create_key = [("UserName", name.as_str())];
    let (_, created) = try_join(aws.iam("PutUserPolicy", &put_policy), aws.iam("CreateAccessKey", &create_key)).await?;
    // Without the response in the error, because it holds the secret.
    let response: CreateAccessKey = quick_xml::de::from_str(&created)
        .map_err(|_| anyhow::anyhow!("the response to CreateAccessKey is unreadable"))?;
    let key = response.create_access_key_result.access_key;
    Ok(Credentials::from_keys(key.access_key_id, key.secret_access_key, None))
}
