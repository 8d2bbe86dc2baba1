//! The IAM policies of who acts on the backplane.

use serde_json::Value;

use super::{Backplane, Principal, Resource, Statement, map_strings};

impl Backplane {
    /// The name of a principal, for a country where there is one for each.
    #[must_use]
    pub fn principal_name(&self, principal: &Principal, country: Option<&str>) -> String {
        country.map_or_else(|| principal.name.clone(), |code| self.fill(&principal.name, code))
    }

    /// All that a principal may do: the statements of another that it names, and its own.
    pub fn statements<'a>(&'a self, principal: &'a Principal) -> impl Iterator<Item = &'a Statement> {
        let other = principal.statements_of.as_ref().and_then(|other| self.principals.get(other));
        other.into_iter().chain([principal]).flat_map(|principal| &principal.statements)
    }

    /// The IAM policy document of a principal, its resources resolved to ARNs by `arns`.
    ///
    /// # Errors
    /// When `arns` fails.
    pub fn policy<E>(
        &self,
        principal: &Principal,
        country: Option<&str>,
        arns: impl Fn(Resource) -> Result<Vec<String>, E>,
    ) -> Result<Value, E> {
        let statements = self
            .statements(principal)
            .map(|statement| {
                let resources =
                    statement.resources.iter().map(|resource| arns(*resource)).collect::<Result<Vec<_>, E>>()?.concat();
                let mut document = serde_json::json!({
                    "Sid": statement.sid,
                    "Effect": "Allow",
                    "Action": statement.actions,
                    "Resource": resources,
                });
                if let (Some(condition), Some(document)) = (&statement.condition, document.as_object_mut()) {
                    let condition = map_strings(condition, &|text| vec![self.fill(text, country.unwrap_or_default())]);
                    document.insert("Condition".to_owned(), condition);
                }
                Ok(document)
            })
            .collect::<Result<Vec<_>, E>>()?;
        Ok(serde_json::json!({ "Version": "2012-10-17", "Statement": statements }))
    }
}
