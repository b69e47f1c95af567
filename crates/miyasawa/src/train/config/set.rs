//! `key=value` changes of a configuration.

use super::ConfigError;

/// Applies `a.b=value`: the value is read as TOML, or taken as text where it is not.
pub(crate) fn set(table: &mut toml::Table, setting: &str) -> Result<(), ConfigError> {
    let wrong =
        |message: String| ConfigError::Parse { origin: format!("--set {setting}"), message };
    let (path, text) = setting.split_once('=').ok_or_else(|| wrong("expected key=value".into()))?;
    let value = format!("v = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut keys: Vec<&str> = path.split('.').map(str::trim).collect();
    let last =
        keys.pop().filter(|key| !key.is_empty()).ok_or_else(|| wrong("the key is empty".into()))?;
    let mut at = table;
    for key in keys {
        let entry = at.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = entry.as_table_mut().ok_or_else(|| wrong(format!("'{key}' holds no keys")))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}
