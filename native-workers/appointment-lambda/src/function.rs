//! The function: one component, ready for events.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_host::{EdgeHost, Executor, LogSink, Manifest, WasmEngine};
use serde::Serialize;
use serde_json::Value;

use crate::event::{Deadline, Event, EventError};
use crate::queue::{BatchResponse, INSTANCES, SourceQueue};
use crate::schedule::Republished;
use crate::settings::{self, SettingError};
use crate::{gateway, queue, schedule};

pub(crate) struct Function {
    executor: Executor,
    component: String,
    queue: Option<SourceQueue>,
}

/// The function's response.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum FunctionResult {
    Response(Box<gateway::Response>),
    Batch(BatchResponse),
    Republished(Republished),
}

/// Why the function does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Host(#[from] edge_host::Error),
    #[error("cannot find the function's package: {0}")]
    Package(#[from] std::io::Error),
}

impl Function {
    /// Loads the component that `SPIN_COMPONENT` names from the function's package, `LAMBDA_TASK_ROOT`
    /// ([AWS](https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)), or from where this program lies.
    ///
    /// # Errors
    ///
    /// [`StartError`] names what is missing: a setting, a component, a variable, a file.
    #[expect(unsafe_code, reason = "the package's machine code is part of this program")]
    pub(crate) fn of_package(log: LogSink) -> Result<Self, StartError> {
        let environment = |name: &str| std::env::var(name).ok();
        let package = match std::env::var_os("LAMBDA_TASK_ROOT") {
            Some(folder) => PathBuf::from(folder),
            None => std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let component = settings::component(environment)?;
        let manifest = Manifest::from_file(package.join("spin.toml"))?.only(&[&component])?;
        let queue = settings::queue(environment)?.map(|settings| SourceQueue::new(settings, log.clone()));
        let variables = settings::variables(&manifest, &component, environment)?;
        let engine = WasmEngine::without_compiler(INSTANCES)?;
        let builder = EdgeHost::builder(manifest).instances(INSTANCES).log(log);
        let builder = variables.into_iter().fold(builder, |builder, (name, value)| builder.variable(name, value));
        // SAFETY: packaging put the output of `compile_ahead` there. Who can change these files, or this process's
        // environment, can as well start another program; on Lambda nobody can: the folder is mounted read-only.
        let builder = unsafe { builder.compiled_ahead(&package, engine) };
        Ok(Self { executor: Executor::new(Arc::new(builder.load()?)), component, queue })
    }

    /// Handles one event.
    ///
    /// # Errors
    ///
    /// [`EventError`]: the invocation failed, and the event's source acts on that.
    pub(crate) async fn handle(&self, event: Value, deadline: Deadline) -> Result<FunctionResult, EventError> {
        let Self { executor, component, queue } = self;
        match Event::recognise(event)? {
            Event::Request(request) => {
                let (request, client) = gateway::request(*request)?;
                let response = executor.handle_http(request, client, deadline.left()).await;
                Ok(FunctionResult::Response(Box::new(gateway::response(response))))
            }
            Event::Messages(batch) => {
                queue::handle(executor, component, queue.as_ref(), batch, deadline).await.map(FunctionResult::Batch)
            }
            Event::Schedule(body) => {
                schedule::republish(executor, component, &body, deadline).await.map(FunctionResult::Republished)
            }
        }
    }
}
