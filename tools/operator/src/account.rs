//! An AWS account, or an emulator of one, with the rights of an operator.

use anyhow::{Context, Result, bail};
use appointment::{AppointmentId, InsuredId};
use aws_http::native::NativeTransport;
use aws_http::{Client, Credentials, Endpoint};
use backplane::{AppointmentsTable, PageRequest};

use crate::aws::{Aws, CALL_LIMIT, client};
use crate::backplane::Backplane;

/// An AWS account, or an emulator of one, with the rights of an operator.
pub struct Account {
    partition: String,
    region: String,
    account: String,
    /// What this environment's names begin with.
    prefix: String,
    /// The table of appointments, if it is not the one of `infra/backplane.json`.
    table: Option<String>,
    pub(crate) topic_arn: String,
    credentials: Credentials,
    /// The endpoint of every service; `None` for those of AWS.
    endpoint: Option<Endpoint>,
    pub(crate) client: Client<NativeTransport>,
    /// Whether SQS has `StartMessageMoveTask`.
    pub(crate) has_move_tasks: bool,
}

impl Account {
    /// The account, region and prefix of names of a topic, with these credentials; every service at `endpoint` if one is given.
    ///
    /// # Errors
    /// If the text is not the ARN of a topic of commands.
    pub fn of_topic(
        topic_arn: &str,
        credentials: Credentials,
        endpoint: Option<&Endpoint>,
        backplane: &Backplane,
    ) -> Result<Self> {
        let parts: Vec<&str> = topic_arn.split(':').collect();
        let expected = "Terraform's output `appointments_topic_arn` tells it";
        let ["arn", partition, "sns", region, account, topic] = parts.as_slice() else {
            bail!("not the ARN of a topic: {topic_arn}; {expected}");
        };
        let prefix = topic.strip_suffix(&backplane.topic.name).with_context(|| {
            format!("not the topic {}, with or without a prefix: {topic_arn}; {expected}", backplane.topic.name)
        })?;
        Ok(Self {
            partition: (*partition).to_owned(),
            region: (*region).to_owned(),
            account: (*account).to_owned(),
            prefix: prefix.to_owned(),
            table: None,
            topic_arn: topic_arn.to_owned(),
            client: client(region, credentials.clone(), CALL_LIMIT),
            credentials,
            endpoint: endpoint.cloned(),
            has_move_tasks: true,
        })
    }

    /// The same account, whose appointments are in another table: one that was restored has a suffix (`docs/restore.md`).
    #[must_use]
    pub fn with_table(mut self, name: &str) -> Self {
        self.table = Some(name.to_owned());
        self
    }

    /// The same account, whose SQS has no `StartMessageMoveTask`: dead letters are received, sent and deleted one by one.
    #[must_use]
    pub const fn without_move_tasks(mut self) -> Self {
        self.has_move_tasks = false;
        self
    }

    /// The ids of a person's latest hundred appointments, newest first.
    ///
    /// # Errors
    /// When the table cannot be read. Errors do not name the person.
    pub async fn appointments_of(&self, backplane: &Backplane, insured_id: InsuredId) -> Result<Vec<AppointmentId>> {
        let (dynamodb, table) = (self.endpoint("dynamodb")?, self.table(backplane));
        let table = AppointmentsTable::new(&self.client, &dynamodb, &table);
        let page = table.list(&insured_id, PageRequest { limit: 100, status: None, after: None }).await?;
        Ok(page.appointments.into_iter().map(|appointment| appointment.appointment_id).collect())
    }

    /// The endpoint of a service.
    pub(crate) fn endpoint(&self, service: &str) -> Result<Endpoint> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(endpoint.clone());
        }
        let suffix = if self.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        let url = format!("https://{service}.{}.{suffix}", self.region);
        Endpoint::parse(&url).with_context(|| format!("no such endpoint: {url}"))
    }

    /// Calls of a service.
    pub(crate) fn aws(&self, service: &str) -> Result<Aws> {
        Ok(Aws::new(self.endpoint(service)?, &self.region, self.credentials.clone()))
    }

    /// The name of the table of appointments in this environment.
    pub(crate) fn table(&self, backplane: &Backplane) -> String {
        self.table.clone().unwrap_or_else(|| self.name(&backplane.table.name))
    }

    /// A name of `infra/backplane.json` in this environment.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The ARN of something of this environment, by its name in `infra/backplane.json`.
    pub(crate) fn arn(&self, service: &str, kind: &str, name: &str) -> String {
        let Self { partition, region, account, .. } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{kind}{}", self.name(name))
    }
}
