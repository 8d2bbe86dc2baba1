//! The keys that a manifest may have, at every level.

use toml::{Table, Value};

use crate::error::ManifestError;
use crate::key_value::DEFAULT_STORE;

/// The keys of one kind of table.
struct Keys {
    /// Those that this host reads.
    read: &'static [&'static str],
    /// Those that Spin has besides.
    unsupported: &'static [&'static str],
}

const MANIFEST: Keys =
    Keys { read: &["spin_manifest_version", "application", "variables", "trigger", "component"], unsupported: &[] };
const APPLICATION: Keys =
    Keys { read: &["name", "version", "description", "authors"], unsupported: &["targets", "tool", "trigger"] };
const VARIABLE: Keys = Keys { read: &["description", "required", "default", "secret"], unsupported: &[] };
const HTTP_TRIGGER: Keys =
    Keys { read: &["id", "route", "component"], unsupported: &["components", "executor", "static_response"] };
const PRIVATE_ROUTE: Keys = Keys { read: &["private"], unsupported: &[] };
const COMPONENT: Keys = Keys {
    read: &["source", "description", "variables", "environment", "allowed_outbound_hosts", "key_value_stores", "build"],
    unsupported: &[
        "ai_models",
        "allowed_http_hosts",
        "dependencies",
        "dependencies_inherit_configuration",
        "exclude_files",
        "files",
        "profile",
        "sqlite_databases",
        "targets",
        "tool",
    ],
};
const BUILD: Keys = Keys { read: &["command", "workdir", "watch"], unsupported: &[] };

/// Refuses every key that this host does not read, at every level.
pub(crate) fn check_keys(manifest: &Table) -> Result<(), ManifestError> {
    // The version first: another version has other keys.
    match manifest.get("spin_manifest_version") {
        Some(Value::Integer(2)) => {}
        Some(Value::String(version)) if version == "2" => {}
        found => {
            let found = found.map_or_else(|| "missing".to_owned(), ToString::to_string);
            return Err(ManifestError::Version { found });
        }
    }
    MANIFEST.check("the manifest", manifest)?;
    if let Some(application) = table(manifest, "application") {
        APPLICATION.check("[application]", application)?;
    }
    for (name, declaration) in tables(table(manifest, "variables")) {
        VARIABLE.check(&format!("[variables] {name}"), declaration)?;
    }
    for (kind, triggers) in table(manifest, "trigger").into_iter().flatten() {
        if kind != "http" {
            let place = "the manifest".to_owned();
            return Err(ManifestError::Unsupported { place, key: format!("trigger.{kind}") });
        }
        for trigger in triggers.as_array().into_iter().flatten().filter_map(Value::as_table) {
            check_trigger(trigger)?;
        }
    }
    for (name, component) in tables(table(manifest, "component")) {
        check_component(&format!("[component.{name}]"), component)?;
    }
    Ok(())
}

fn check_trigger(trigger: &Table) -> Result<(), ManifestError> {
    let place = match trigger.get("route") {
        Some(Value::String(route)) => format!("[[trigger.http]] of route \"{route}\""),
        _ => "[[trigger.http]]".to_owned(),
    };
    HTTP_TRIGGER.check(&place, trigger)?;
    if let Some(route) = table(trigger, "route") {
        PRIVATE_ROUTE.check(&format!("{place} route"), route)?;
    }
    match table(trigger, "component") {
        Some(inline) => check_component(&format!("the inline component in {place}"), inline),
        None => Ok(()),
    }
}

fn check_component(place: &str, component: &Table) -> Result<(), ManifestError> {
    COMPONENT.check(place, component)?;
    if let Some(remote) = table(component, "source").and_then(|source| source.keys().next()) {
        return Err(ManifestError::Unsupported { place: place.to_owned(), key: format!("source.{remote}") });
    }
    let stores = component.get("key_value_stores").and_then(Value::as_array).into_iter().flatten();
    if let Some(other) = stores.filter_map(Value::as_str).find(|store| *store != DEFAULT_STORE) {
        let reason = format!("there is no store `{other}`, only `{DEFAULT_STORE}`");
        return Err(ManifestError::Invalid { place: place.to_owned(), key: "key_value_stores".to_owned(), reason });
    }
    match table(component, "build") {
        Some(build) => BUILD.check(&format!("{place} build"), build),
        None => Ok(()),
    }
}

impl Keys {
    fn check(&self, place: &str, table: &Table) -> Result<(), ManifestError> {
        for key in table.keys() {
            if self.unsupported.contains(&key.as_str()) {
                return Err(ManifestError::Unsupported { place: place.to_owned(), key: key.clone() });
            }
            if !self.read.contains(&key.as_str()) {
                let known = format!("`{}`", self.read.join("`, `"));
                return Err(ManifestError::Unknown { place: place.to_owned(), key: key.clone(), known });
            }
        }
        Ok(())
    }
}

fn table<'a>(parent: &'a Table, key: &str) -> Option<&'a Table> {
    parent.get(key).and_then(Value::as_table)
}

fn tables(parent: Option<&Table>) -> impl Iterator<Item = (&String, &Table)> {
    parent.into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_table()?)))
}
